#include "console.h"
#include "domain.h"
#include "events.h"
#include "text.h"
#include <xen/io/console.h>

static struct xencons_interface *ring;

void console_begin(void)
{
    ring = page_of(start_info->console.domU.mfn);
}

/*
 * A line for which there is no room is left out: nobody has read the last two thousand bytes, and
 * a guest must not stand still because xenconsoled does.
 */
void say(const char *how, ...)
{
    char line[160];
    size_t length = format(line, sizeof(line), "lamplighter-guest: ");
    va_list values;
    va_start(values, how);
    length += format_list(line + length, sizeof(line) - length - 2, how, values);
    va_end(values);
    line[length++] = '\r';
    line[length++] = '\n';

    uint32_t at = ring->out_prod;
    if (sizeof(ring->out) - (at - __atomic_load_n(&ring->out_cons, __ATOMIC_ACQUIRE)) < length)
        return;
    for (size_t i = 0; i < length; i++)
        ring->out[MASK_XENCONS_IDX(at++, ring->out)] = line[i];
    __atomic_store_n(&ring->out_prod, at, __ATOMIC_SEQ_CST);
    event_send(start_info->console.domU.evtchn);
}
