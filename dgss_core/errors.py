"""The one exception a user of this package should ever meet."""


class DgssError(Exception):
    """Something the user can mend: one sentence that says what is wrong and how to mend it.

    The command line prints it without a traceback and exits with code 2; the node puts it on
    `/diagnostics` or fails the lifecycle transition with it.
    """
