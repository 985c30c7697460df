"""Public checkpoints: a catalog of them, and a fetcher that trusts no answer of a server.

    catalog/*.yaml, terms.yaml    what is published where, and under which terms
        │  schema.py     every key checked
        │  catalog.py    Catalog: checkpoints and encoders by name
        ▼
    entry.py             Checkpoint: address, digests, terms, the publisher's test
        │  download.py   bytes of one address, resumed from any byte (web.py: one request)
        │  digests.py    size, checksum, and what the file really is
        ▼
    store.py             <folder>/<name>/<file>, pinned in <folder>/pins.json
    systems.py           which entries can be converted
    docs.py              docs/published.md

Only commands import this wing: nothing is fetched by the node or by the library at run time.
"""
