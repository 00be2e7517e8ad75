/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Queues that the kernel calls in use and that no guest of this hypervisor has: those of a QEMU of another libvirt, or of
 * one started by hand. Its migrations are seen by nobody here, so that no lock over such a queue is held.
 *
 * The AP bus is read once the guests have been, so that a guest was listed before its queues are in use: libvirt lists it
 * from before it starts its QEMU, which is what brings the kernel to say so (vfio_ap_mdev_set_kvm() in
 * drivers/s390/crypto/vfio_ap_ops.c of Linux 6.12). One that starts or ends just then is taken for a stranger until the
 * next reading.
 *
 * It is a part of the proof that a lock is held, and of that alone: a QEMU that is started by hand later breaks no
 * promise, for nobody sees it come or go.
 */
#include "engine/private.h"

#include "ap/use.h"
#include "base/sentence.h"

#define LIMIT_USEC (5 * G_USEC_PER_SEC) /* for a reading: sysfs waits while queues are reset */
#define AGAIN_USEC G_USEC_PER_SEC       /* after one that proved nothing */

void
engine_hardware_changed(ApmigEngine *engine, gboolean has_guest_queues)
{
    engine->has_guest_queues = has_guest_queues;
}

/* --- asking -------------------------------------------------------------------------------------- */

static void
ask(ApmigEngine *engine, Lock *lock)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_READ_USES);

    action->op = lock->uses_op = ++engine->last_op;
    action->reading.lock_id = g_strdup(lock->pub.record->id);
    action->reading.limit_usec = LIMIT_USEC;
}

gboolean
engine_uses_are_clear(ApmigEngine *engine, Lock *lock)
{
    if (!engine->has_guest_queues || lock->uses_clear)
        return TRUE;
    if (!lock->uses_op && engine->now >= lock->uses_again_at)
        ask(engine, lock);
    return FALSE;
}

/* --- what is read -------------------------------------------------------------------------------- */

static void
add_devices(GPtrArray *devices, char **uuids)
{
    for (guint i = 0; uuids[i]; i++)
        g_ptr_array_add(devices, uuids[i]);
}

/* Returns: (transfer container): those of every guest that is seen, or was let in. */
static GPtrArray *
list_devices(const ApmigEngine *engine)
{
    GPtrArray *devices = g_ptr_array_new();
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        add_devices(devices, guest->devices);
    for (guint i = 0; i < engine->migrations->len; i++)
        add_devices(devices, ((Migration *)g_ptr_array_index(engine->migrations, i))->pub.devices);
    g_ptr_array_add(devices, NULL);
    return devices;
}

/* Returns: (transfer full) (nullable): which queues that @lock covers did not tell whether they are in use, as a clause. */
static char *
find_silent(const Lock *lock, const ApmigApHost *host)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *few = NULL;

    for (guint i = 0; i < host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(host->queues, i);

        if (queue->hangs && apmig_scope_contains(lock->pub.record->scope, queue->adapter, queue->domain))
            g_ptr_array_add(names, g_strdup_printf("%02x.%04x", queue->adapter, queue->domain));
    }
    if (names->len == 0)
        return NULL;
    few = apmig_sentence_few(names, ", ");
    return g_strdup_printf("sysfs does not tell in time whether these AP queues are in use: %s; lock other "
                           "queues, or see why with: lszcrypt -V",
                           few);
}

/* Returns: (transfer full) (nullable): whose queues @lock covers and nobody here has, as a clause; NULL: nobody's. */
static char *
find_strangers(const ApmigEngine *engine, const Lock *lock, const ApmigApHost *host)
{
    g_autoptr(GPtrArray) devices = list_devices(engine);
    g_autoptr(GPtrArray) uses = apmig_ap_list_unseen_uses(host, (const char *const *)devices->pdata);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *few = NULL;

    for (guint i = 0; i < uses->len; i++) {
        const ApmigApUse *use = g_ptr_array_index(uses, i);

        if (!apmig_scope_contains(lock->pub.record->scope, use->queue.adapter, use->queue.domain))
            continue;
        g_ptr_array_add(names, g_strdup_printf("%02x.%04x%s%s%s", use->queue.adapter, use->queue.domain,
                                               *use->device ? " (mediated device " : "", use->device,
                                               *use->device ? ")" : ""));
    }
    if (names->len == 0)
        return NULL;
    few = apmig_sentence_few(names, ", ");
    return g_strdup_printf(
        "no guest of this libvirt has these AP queues, and they are in use: %s; a QEMU whose migration "
        "would not be seen has them: end it, or lock other queues (apmigctl queues)",
        few);
}

void
engine_uses_read(ApmigEngine *engine, const ApmigEvent *event)
{
    for (guint i = 0; event->uses_read.op && i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (lock->uses_op != event->uses_read.op)
            continue;
        lock->uses_op = 0;
        lock->uses_again_at = engine->now + AGAIN_USEC;
        g_free(lock->uses_trouble);
        if (!event->uses_read.host)
            lock->uses_trouble = g_strdup_printf("whether other QEMUs use its AP queues is not known: %s",
                                                 event->uses_read.error);
        else
            lock->uses_trouble = find_strangers(engine, lock, event->uses_read.host);
        if (!lock->uses_trouble)
            lock->uses_trouble = find_silent(lock, event->uses_read.host);
        lock->uses_clear = !lock->uses_trouble;
        lock->dirty = TRUE;
        return;
    }
}

/* --- what it tells ------------------------------------------------------------------------------- */

void
engine_describe_uses(const ApmigEngine *engine, const Lock *lock, GString *text)
{
    const char *trouble = lock->uses_trouble;

    if (!trouble && lock->uses_op)
        trouble = "this host's AP queues are being read, for QEMUs that are not of this libvirt";
    if (engine->has_guest_queues && !lock->uses_clear && trouble)
        g_string_append_printf(text, "%s%s", text->len ? "; " : "", trouble);
}

gint64
lock_next_reading_of_uses(const ApmigEngine *engine, const Lock *lock)
{
    gboolean is_due = engine->has_guest_queues && !lock->uses_clear && !lock->uses_op && !lock->ending;

    return is_due && lock->uses_again_at > engine->now ? lock->uses_again_at : 0;
}
