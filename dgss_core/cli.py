"""The `dgss` command: a table of verbs; the signature of a function defines its options."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, get_type_hints

from dgss_core import __version__
from dgss_core.commands.interrupts import end_with_threads, ending_at_last_signal
from dgss_core.commands.plain_parser import is_plain, parse_plain
from dgss_core.errors import DgssError, explained, one_line, similar
from dgss_core.files.home import name_user
from dgss_core.libraries import libraries_for

LONGEST = 4000
"""Characters of an error message."""
HELP = ('-h', '--help', 'help')

VERBS = {
    # verb: (module, imported only when the verb is called; function; summary)
    'segment': (
        'dgss_core.commands.segment',
        'segment',
        'write masks of images, a video or a bag',
    ),
    'evaluate': (
        'dgss_core.commands.evaluate',
        'evaluate',
        'score a model on data sets and bags, per condition',
    ),
    'compare': (
        'dgss_core.commands.compare',
        'compare',
        'show what differs between evaluations, and how sure that is',
    ),
    'demo': (
        'dgss_ros.demo.command',
        'demo',
        'drive through all conditions with the node; print a table',
    ),
    'bag write': (
        'dgss_core.commands.bag',
        'write',
        'write frames, a video or the synthetic drive as a bag',
    ),
    'bag play': ('dgss_ros.replay.bag_play', 'play', 'publish a bag on live topics'),
    'bag replay': (
        'dgss_ros.replay.replay',
        'replay',
        'play a bag through a running node and record the masks',
    ),
    'bag info': ('dgss_core.commands.bag', 'info', 'print the contents of a bag'),
    'bundle info': (
        'dgss_core.commands.bundle',
        'info',
        'check a bundle and print its properties',
    ),
    'export': ('dgss_core.commands.export', 'export', 'export a checkpoint as a bundle'),
    'engine build': (
        'dgss_core.commands.engine',
        'build',
        'build an engine of a bundle for a GPU',
    ),
    'engine list': ('dgss_core.commands.engine', 'list_engines', 'list the cached engines'),
    'engine verify': (
        'dgss_core.commands.engine',
        'verify_engine',
        'compare the masks of an engine with those of the reference',
    ),
    'engine prune': ('dgss_core.commands.engine', 'prune', 'remove unused engines'),
    'data check': ('dgss_core.commands.data', 'check', 'verify a copy of a dataset'),
    'models': ('dgss_core.commands.models', 'models', 'list the systems, their parts and sizes'),
    'convert': ('dgss_core.commands.convert', 'convert', 'convert a published checkpoint'),
    'published list': (
        'dgss_core.commands.published',
        'list_published',
        'list public checkpoints, their figures and their terms',
    ),
    'published show': (
        'dgss_core.commands.published',
        'show',
        'show everything that is known of one',
    ),
    'published fetch': (
        'dgss_core.commands.published',
        'fetch',
        'download one, after its terms are accepted',
    ),
    'published check': (
        'dgss_core.commands.published',
        'check',
        'ask whether the addresses answer',
    ),
    'published bundle': (
        'dgss_core.commands.published_bundle',
        'bundle',
        'fetch, convert, export and verify one',
    ),
    'generate prompts': (
        'dgss_core.commands.generate',
        'prompts',
        'write descriptions of street scenes',
    ),
    'generate images': (
        'dgss_core.commands.generate',
        'images',
        'generate images of these by diffusion',
    ),
    'generate labels': (
        'dgss_core.commands.generate',
        'labels',
        "label frames by a teacher's masks, refined by Segment Anything",
    ),
    'train': ('dgss_core.commands.train', 'train', 'train a recipe, on one CPU or many machines'),
    'mine-styles': (
        'dgss_core.commands.mine_styles',
        'mine_styles',
        'mine a bank of styles for FAMix from prompts',
    ),
    'bench train': (
        'dgss_core.commands.bench_train',
        'bench_train',
        'measure images per second, waiting time and memory of a recipe',
    ),
    'bench distill': (
        'dgss_core.commands.bench_distill',
        'bench_distill',
        'compare one-stage with two-stage distillation on equal budgets',
    ),
    'bench heads': (
        'dgss_core.commands.bench_heads',
        'heads',
        'measure frames per second of the heads behind one backbone',
    ),
    'bench gpu': (
        'dgss_core.commands.bench_gpu',
        'gpu',
        'compare PyTorch, eager and compiled, with ONNX Runtime on a GPU',
    ),
    'bench node': (
        'dgss_ros.bench.command',
        'node',
        'measure the node from outside: latency, rates, memory',
    ),
    'bench model': (
        'dgss_core.commands.bench_model',
        'model',
        'measure the speed of a bundle against the roofline',
    ),
    'bench offline': (
        'dgss_core.commands.bench_offline',
        'offline',
        'compare dgss segment and dgss evaluate with the network alone',
    ),
    'bench drive': (
        'dgss_core.commands.bench_drive',
        'drive',
        'measure the frames of the synthetic drive, in order and in any order',
    ),
    'bench modules': (
        'dgss_core.commands.bench_modules',
        'modules',
        'compare our networks with plain implementations',
    ),
}


def run_verb(verb: str, arguments: Sequence[str]) -> Any:
    """Parse `arguments` by the signature of the function of a verb, and call it.

    Parameters before the `*` in the signature are positional, those after it are options. A
    positional list takes one value or more.
    """
    module, name, _ = VERBS[verb]
    prog = f'dgss {verb}'
    with libraries_for(prog):
        function = getattr(import_module(module), name)
        kinds = get_type_hints(function)
        if is_plain(kinds):
            return function(**parse_plain(function, kinds, prog, arguments))
        parser = import_module('dgss_core.commands.parser')
        return function(**parser.parse_with_sections(function, kinds, prog, arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    0 is success, 2 a mistake of the user, which is printed as one sentence. If nobody reads the
    output any more, as after `| head`, the verb ends without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # for a terminal without UTF-8
    try:
        with ending_at_last_signal():
            code = _main(arguments)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed before the start
                stream.flush()
        return code
    except BrokenPipeError:
        # Python flushes both once more at its end.
        with open(os.devnull, 'wb') as nowhere:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere.fileno(), stream.fileno())
        return 1


def _refuse_lost_folder() -> None:
    """Raise DgssError if the working folder was removed: libraries fail in strange ways there."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise DgssError(
            'The working folder is gone; change to another one, as by cd ~.'
        ) from error


def _main(given: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if given is None else given)
    # What a damaged picture means is said in a sentence of ours. OpenCV reads it when imported.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'ERROR')
    name_user()
    try:
        if not arguments or arguments[0] in HELP:
            print(overview(VERBS))
            return 0
        if len(arguments) > 1 and arguments[1] in HELP and (group := verbs_of(arguments[0])):
            print(overview(group))
            return 0
        if arguments[0] == '--version':
            print(f'dgss {__version__}')
            return 0
        verb = find_verb(arguments)
        _refuse_lost_folder()
        return run_verb(verb, arguments[len(verb.split()) :]) or 0
    except BrokenPipeError:
        raise
    except (DgssError, OSError) as error:
        print(f'dgss: error: {one_line(explained(error), LONGEST)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('dgss: interrupted', file=sys.stderr)
        if given is None:  # Called as a program.
            end_with_threads(130)
        return 130


def find_verb(arguments: Sequence[str]) -> str:
    """The verb at the start of `arguments`; DgssError suggests similar verbs for another."""
    for words in (2, 1):
        if (verb := ' '.join(arguments[:words])) in VERBS:
            return verb
    group = verbs_of(arguments[0])
    typed = ' '.join(arguments[:2] if group else arguments[:1])
    near = group or similar(typed, VERBS)
    raise DgssError(f'there is no verb {typed!r}; use one of: {", ".join(near)}.')


def verbs_of(group: str) -> list[str]:
    """The verbs of two words that start with `group`."""
    return [verb for verb in VERBS if verb.startswith(f'{group} ')]


def overview(verbs: Collection[str]) -> str:
    """A line for each of `verbs`."""
    width = max(map(len, verbs))
    lines = [f'  dgss {verb:{width}}  {VERBS[verb][2]}' for verb in verbs]
    return '\n'.join(
        [
            f'dgss {__version__}: semantic masks that stay right when the domain shifts',
            '',
            *lines,
            '',
            'dgss VERB --help lists the options of a verb.',
        ]
    )
