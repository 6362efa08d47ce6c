"""How long the engine waits for what, in host seconds, and why that long.

These are facts about Xen and its tools, not policy: what an administrator decides is in
``model/policy``.
"""

from __future__ import annotations

#: A domain that shut down is reaped by the process that created it, at once. After this long it is
#: asked whether that process lives; where it is dead nobody reaps the domain, so we do.
REAP_GRACE = 5.0

#: While it lives that is asked again and again, each time after twice as long, but at least this
#: often: where dozens are taken apart one after another, asking cost a tenth of a whole stop.
REAP_PAUSE = 20.0

#: Where it lives it is left alone for so long, and at least to the domain's own deadline: libxl
#: gives devices up to 40 s to close (LIBXL_HOTPLUG_TIMEOUT, libxl_internal.h), and dozens of
#: domains that end at one moment are taken apart one after another: sixty of them took two minutes
#: on an emulated host.
REAPER_TIME = 300.0

#: A domain whose time is up is looked at once more before it is destroyed, because the last listing
#: may have begun before it ended. So long is waited for what is seen then: one listing may be under
#: way, a pause follows it, and the one that counts comes after that; each may take seven seconds.
LAST_LOOK = 20.0

#: What has shut down and whose reaper has ended was most likely reaped, and the next listing shows
#: it gone. It executes nothing, so that listing is given the time that it takes where sixty domains
#: end at once: two of them took 25 s on an emulated host.
ORPHAN_LOOK = 60.0

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

#: What is said to a guest and read of it may take so long beyond the time that a domain's stop
#: has, all together, and so long in a start: where dozens of domains are taken apart at one moment,
#: their transactions with XenStore conflict for a minute, and each waits for the others.
XENSTORE_TIME = 10.0

#: And what is read when that is over, too, such as a guest's last word: where XenStore answers it
#: takes a few milliseconds.
LAST_WORD = 1.0

#: Even with short time-outs, this many requests fit into one stop.
RUNGS = 3
