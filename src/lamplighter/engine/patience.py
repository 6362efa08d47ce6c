"""How long the engine waits for what, in host seconds, and why that long.

These are facts about Xen and its tools, not policy: what an administrator decides is in
``model/policy``.
"""

from __future__ import annotations

#: A domain that shut down is reaped by the process that created it, at once. If that process is
#: dead nobody reaps it; after this long we do.
REAP_GRACE = 5.0

#: Between two incarnations of a rebooting domain xl waits two seconds and then creates it, which
#: can take long under load. A domain that is still not listed after this has not come back.
REBOOT_GAP = 15.0

#: A dying domain stays listed while another domain still maps its memory. It executes nothing.
ZOMBIE_GRACE = 15.0

#: After a call that failed, so long until the same call is tried again.
RETRY_PAUSE = 5.0

#: So often a destroy is tried before the domain's stop has failed.
DESTROY_TRIES = 3

#: An HVM guest that never advertised itself in XenStore most likely has no drivers for it: its
#: request is given up early and the power button is pressed.
HVM_SILENCE = 10.0

#: Between two answers to a guest's requests for more time: whatever it asks, and however often, it
#: costs one decision and one write a second.
ANSWER_PAUSE = 1.0

#: Even with short time-outs, this many requests fit into one stop.
RUNGS = 3
