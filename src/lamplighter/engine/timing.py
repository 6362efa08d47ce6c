"""Waiting times with their reasons, in host seconds unless a name says otherwise.

They follow from Xen and its tools and are not policy: what an administrator decides is in
``model/policy``.
"""

from __future__ import annotations

#: The pause between two attempts of the unit to reach its host.
DOOR_PAUSE = 1.0

#: A domain that shut down is reaped at once by the process that created it. After this long the run
#: checks whether that process lives; if it is dead, nobody reaps the domain, so the run does.
REAP_GRACE = 5.0

#: While that process lives the check is repeated, each time after twice as long, but at least this
#: often: where dozens of domains are reaped in sequence, checking cost a tenth of a whole stop.
REAP_PAUSE = 20.0

#: While that process lives it is left alone for this long, and at least until the domain's own
#: deadline: libxl gives a device's hotplug script up to 40 s (LIBXL_HOTPLUG_TIMEOUT,
#: libxl_internal.h), and dozens of domains that end at one moment are reaped one after another:
#: sixty of them took two minutes on an emulated host.
REAPER_TIME = 300.0

#: A domain whose time is up is listed once more before it is destroyed, because the last listing
#: may have begun before it ended. That listing is awaited for this long: another one may be under
#: way, a pause follows it, and the one that counts comes after that; each may take seven seconds.
FINAL_LISTING = 20.0

#: A domain that has shut down and whose reaper has ended was most likely reaped, and the next
#: listing shows that it is gone. It executes nothing, so that listing gets the time that it takes
#: when sixty domains end at once: two listings took 25 s on an emulated host.
ORPHAN_LISTING = 60.0

#: Between two incarnations of a rebooting domain xl waits two seconds and then creates the domain,
#: which can take long under load. A domain that is not listed after this long has not come back.
REBOOT_GAP = 15.0

#: How long a dying domain is waited for: it stays listed while another domain still maps its
#: memory. It executes nothing.
ZOMBIE_GRACE = 15.0

#: How long after a failed call the same call is tried again.
RETRY_PAUSE = 5.0

#: How many times a destroy is tried before the domain's stop has failed.
DESTROY_TRIES = 3

#: An HVM guest that never advertised itself in XenStore most likely has no drivers for it: its
#: request is withdrawn after this long and the power button is pressed.
HVM_SILENCE = 10.0

#: The pause between two answers to a guest's requests for more time: whatever it requests, and
#: however often, that costs one decision and one write a second.
ANSWER_PAUSE = 1.0

#: XenStore access for a domain may take this much longer than its stop's deadline, all together,
#: and at least this long in a start: where dozens of domains are reaped at one moment, their
#: XenStore transactions conflict for a minute, and each waits for the others.
XENSTORE_TIME = 10.0

#: A read after that time, such as that of a guest's last report, may take this long: a XenStore
#: that answers takes a few milliseconds.
LAST_READ = 1.0

#: Even with short time-outs, this many requests fit into one stop.
MIN_REQUESTS = 3

#: The domains are listed this often although no watch says that something happened, because a watch
#: event may be lost.
LISTING_INTERVAL = 5.0

#: The pause after a listing, as a multiple of its duration, and at most ``LISTING_INTERVAL``. So
#: listing takes a fifth of the time, however many domains come and go.
LISTING_PAUSES = 4.0

#: How many times the first listing of a run is tried, and the pause between two attempts: without a
#: listing there can be no run, and a toolstack that failed once may be about to answer.
LIST_ATTEMPTS = 3
LIST_PAUSE = 3.0

#: What was listed longer ago than this is listed again before it is planned on.
FRESH = 1.0

#: The process that waited for a domain lives on for a moment when the domain has gone.
CREATOR_LINGERS = 0.5

#: How many times the host is listed again at the end of a stop, as long as there is something new.
LATE_LISTINGS = 3

#: In real seconds: how long a run of systemd's waits for another one to end, and the pause between
#: two attempts to take the lock. No run by hand sensibly takes longer.
LOCK_WAIT = 600.0
LOCK_PAUSE = 1.0

#: In real seconds, beyond the time of a call: a run that is told to end in order ends within this.
ORDERLY_END = 10.0

#: In real seconds: a run that is told to drop everything ends within this, or is killed.
DROPPED_END = 60.0
