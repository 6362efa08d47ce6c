"""The guest's side of the handshake: the agent that runs inside a domain.

It ships as one file, made of this package and the modules of ``xenstore``, ``formats`` and
``errors`` that it needs, and runs on Python 3.9 with the standard library alone. To save the
guest's memory, the daemon imports neither asyncio nor dataclasses nor argparse.
"""
