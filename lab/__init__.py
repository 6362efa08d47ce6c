"""The lab: a real Xen host in QEMU, and scenarios that hold Lamplighter's promises against it.

From the outside in:

    __main__     the command: which variants, which scenarios, the closing line
    needs        the Debian packages that this machine must have
    mirror       where this machine gets Debian's packages, and the keys that sign them
    cache        what is built once, found again by the hash of its recipe
    rootfs       dom0's root file system, by mmdebstrap
    guests       the guests' kernel and initramfs, and their behaviours
    debian_guest a whole Debian as a guest: its disk and initramfs; what they need is in debian/
    image        the disk that boots: the root file system, the guests, the lab's settings
    wheels       the product and what it depends on, for a host without a network
    machine      QEMU: the process, its monitor, snapshots
    link         commands into dom0 over ssh, each with a deadline
    dom0         dom0 as scenarios use it
    debians      Debian guests in a scenario: their disks, their definitions, their output
    troubles     what is made to go wrong in them
    evidence     what is kept of a scenario that failed
    bench        one variant: boot, install, snapshot, and every scenario from the snapshot
    scenarios/   one file each

Nothing here is in the wheel. The lab has real time: unlike the product it reads the clock itself.
"""
