"""Standard output as a place that can fail: closed, full, or left by its reader."""


def on_stdout(error: OSError | ValueError) -> OSError:
    """The error, with where it was."""
    return OSError(
        getattr(error, "errno", None) or 0,
        getattr(error, "strerror", None) or str(error),
        "standard output",
    )
