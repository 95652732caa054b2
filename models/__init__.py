"""The built-in architectures: one family per file; a file's stem is the plug-in's name."""

if __name__ == "models":
    raise ImportError(
        "this is sertbench's folder of models, found because the current folder is on sys.path; "
        "write `import sertbench.models`, or run Python from another folder (or with `python -P`)"
    )
