#include "events.h"
#include "clock.h"
#include "domain.h"
#include "hypercall.h"

void event_send(evtchn_port_t port)
{
    struct evtchn_send send = {.port = port};
    xen_events(EVTCHNOP_send, &send);
}

void event_clear(evtchn_port_t port)
{
    xen_ulong_t *words = shared.info.evtchn_pending;
    const unsigned bits = 8 * sizeof(words[0]);
    __atomic_fetch_and(&words[port / bits], ~(1UL << port % bits), __ATOMIC_SEQ_CST);
}

void event_wait(evtchn_port_t port, uint64_t deadline)
{
    if (now() >= deadline)
        return;
    struct sched_poll poll = {.nr_ports = 1, .timeout = system_time(deadline)};
    set_xen_guest_handle(poll.ports, &port);
    xen_schedule(SCHEDOP_poll, &poll, 0);
}
