"""The built-in corpora: one corpus per file; a file's stem is the plug-in's name."""

if __name__ == "datasets":
    raise ImportError(
        "this is sertbench's folder of corpora, not Hugging Face's `datasets`, found because the current folder is on "
        "sys.path; write `import sertbench.datasets`, or run Python from another folder (or with `python -P`)"
    )
