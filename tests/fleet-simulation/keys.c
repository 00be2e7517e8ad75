/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The truth about master keys on every host, and what a host tells of those that it can read: of EP11's class, which has no
 * OLD register.
 */
#include "ap/fixture.h"
#include "fleet.h"

typedef struct {
    Host *host;
    guint64 op;
    guint incarnation;
} Reading;

guint
keys_adapter(guint queue)
{
    return 4 + queue / 2;
}

guint
keys_domain(guint queue)
{
    return 1 + queue % 2;
}

void
keys_init(Sim *sim)
{
    sim->last_key = 1;
    for (guint i = 0; i < sim->n_hosts; i++)
        for (guint queue = 0; queue < N_QUEUES; queue++)
            sim->hosts[i].keys[queue] = (Key){.cur = 1, .readable = dice_chance(&sim->dice, 850)};
}

void
keys_set(Sim *sim, Host *host, guint queue, guint cur, gboolean pending)
{
    Key *key = &host->keys[queue];

    if (key->cur == cur && key->pending == pending)
        return;
    sim_trace(sim, "%s: %02x.%04x has key %u%s", host->name, keys_adapter(queue), keys_domain(queue), cur,
              pending ? ", and a new one that is not set" : "");
    key->cur = cur;
    key->pending = pending;
    key->since = sim->now;
}

guint
keys_differ(const Host *a, const Host *b, guint mask)
{
    for (guint queue = 0; queue < N_QUEUES; queue++)
        if ((mask & (1u << queue)) && a->keys[queue].cur != b->keys[queue].cur)
            return queue;
    return N_QUEUES;
}

/* --- what is told -------------------------------------------------------------------------------- */

static ApmigMkvps
registers_of(const Key *key)
{
    g_autofree char *cur =
        key->cur ? g_strdup_printf("valid 0x%08x%056d", key->cur, 0) : g_strdup("invalid -");
    g_autofree char *text =
        g_strdup_printf("WK CUR: %s\nWK NEW: %s\n", cur, key->pending ? "uncommitted -" : "empty -");

    return mkvps_of(text);
}

static ApmigEvidenceRecord *
record_new(const Key *key, guint queue)
{
    ApmigEvidenceRecord *record = g_new0(ApmigEvidenceRecord, 1);
    const ApmigMkvps mkvps = registers_of(key);

    record->adapter = keys_adapter(queue);
    record->domain = keys_domain(queue);
    record->key_class = APMIG_KEY_WK;
    record->source = g_strdup("");
    if (!key->readable)
        return record;
    record->evidence = APMIG_EVIDENCE_VERIFIED;
    for (guint i = 0; i < APMIG_N_REGISTERS; i++)
        record->registers[i] = mkvps.registers[APMIG_KEY_WK][i];
    return record;
}

ApmigFleetKeys *
keys_answer(const Host *host)
{
    ApmigFleetKeys *keys = apmig_fleet_keys_new(host->name, NULL);

    for (guint queue = 0; queue < N_QUEUES; queue++)
        g_ptr_array_add(keys->records, record_new(&host->keys[queue], queue));
    return keys;
}

/* Returns: (transfer full) */
static ApmigApHost *
hardware_of(const Host *host)
{
    ApmigApHost *hardware = host_new();

    for (guint queue = 0; queue < N_QUEUES; queue += 2)
        host_add_card(hardware, keys_adapter(queue), "CEX8P");
    for (guint queue = 0; queue < N_QUEUES; queue++)
        host_add_queue(hardware, keys_adapter(queue), keys_domain(queue),
                       host->keys[queue].readable ? "cex4queue" : "vfio_ap")
            ->online = APMIG_YES;
    return hardware;
}

/* Returns: (transfer full) (element-type ApmigKeyReading) */
static GPtrArray *
readings_of(const Host *host)
{
    GPtrArray *readings = g_ptr_array_new_with_free_func(g_free);

    for (guint queue = 0; queue < N_QUEUES; queue++) {
        ApmigKeyReading *reading;

        if (!host->keys[queue].readable)
            continue;
        reading = g_new0(ApmigKeyReading, 1);
        reading->adapter = keys_adapter(queue);
        reading->domain = keys_domain(queue);
        reading->mkvps = registers_of(&host->keys[queue]);
        g_ptr_array_add(readings, reading);
    }
    return readings;
}

static void
answer(Sim *sim, gpointer object, guint64 number)
{
    const Reading *reading = object;
    Host *host = reading->host;
    ApmigEvent event = {.type = APMIG_EVENT_KEYS_READ};
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) readings = readings_of(host);
    ApmigApHost *hardware;

    if (host->incarnation != reading->incarnation)
        return;
    hardware = hardware_of(host);
    event.keys_read.op = reading->op;
    event.keys_read.host = hardware;
    event.keys_read.readings = readings;
    event.keys_read.evidence = evidence;
    host_tell(sim, host, &event);
    apmig_ap_host_free(hardware);
}

void
keys_read(Sim *sim, Host *host, const ApmigAction *action)
{
    Reading *reading = g_new0(Reading, 1);

    reading->host = host;
    reading->op = action->op;
    reading->incarnation = host->incarnation;
    sim_later(sim, dice_spread(&sim->dice, 1 * MSEC, 500 * MSEC), answer, reading, 0, g_free);
}
