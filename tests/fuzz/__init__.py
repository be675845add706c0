"""Every reader on files that are damaged on purpose: ``python -m tests.fuzz --minutes 10``.

`corpus` makes small sound files of all formats, `damage` changes them as their structure suggests,
`targets` says what reads them, `run` judges and counts what came of it, `worker` survives it. A
sound reader returns, or raises a documented error of one line, within 20 s and 2 GB.
"""
