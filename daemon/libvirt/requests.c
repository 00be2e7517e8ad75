/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What others than the engine's view ask of libvirt: facts and stamps of a guest, and the devices of all. Each is asked in
 * a thread, and its answer handed on and freed in the main loop.
 */
#include "libvirt/private.h"

#include "libvirt/calls.h"
#include "libvirt/listing.h"
#include "libvirt/stamping.h"

/* --- what is asked of one guest ------------------------------------------------------------------- */

typedef struct {
    char *text;
    ApmigSysfs *sysfs;
    ApmigGuestFactsFunc func;
    ApmigStampOrder *order; /* (nullable): it is to be described, for @described */
    ApmigGuestDescribedFunc described;
    gpointer user_data;
    ApmigGuest *guest; /* NULL without @error: an incoming one, of which nothing can be known yet */
    char *xml;         /* its description */
    GError *error;
} LookUp;

static void
make_look_up(ApmigLibvirtConnection *connection, const GError *no_connection, gpointer data)
{
    LookUp *look_up = data;

    if (!connection)
        look_up->error = g_error_copy(no_connection);
    else if (look_up->order)
        look_up->xml = apmig_libvirt_describe(connection, look_up->text, look_up->sysfs, look_up->order,
                                              &look_up->error);
    else if (!apmig_libvirt_look_up(connection, look_up->text, look_up->sysfs, &look_up->guest,
                                    &look_up->error))
        look_up->guest = NULL;
}

/* @error: (nullable): instead of what was found */
static void
answer_look_up(const LookUp *look_up, const GError *error)
{
    ApmigGuestFacts facts = {.affected = APMIG_AFFECTED_UNKNOWN};

    if (look_up->guest)
        facts = apmig_guest_facts(look_up->guest);
    if (look_up->order)
        look_up->described(!error ? look_up->xml : NULL, error, look_up->user_data);
    else
        look_up->func(!error ? &facts : NULL, error, look_up->user_data);
}

static void
hand_on_look_up(gpointer owner, gpointer data)
{
    LibvirtHypervisor *self = owner;
    LookUp *look_up = data;

    if (self) {
        g_ptr_array_remove_fast(self->look_ups, look_up);
        answer_look_up(look_up, look_up->error);
    }
    g_clear_pointer(&look_up->guest, apmig_guest_free);
    g_clear_error(&look_up->error);
    apmig_stamp_order_free(look_up->order);
    g_free(look_up->xml);
    apmig_sysfs_unref(look_up->sysfs);
    g_free(look_up->text);
    g_free(look_up);
}

/* @question: of which text and sysfs are set here */
static void
begin_look_up(LibvirtHypervisor *self, const char *guest, LookUp question)
{
    LookUp *look_up = g_new(LookUp, 1);

    *look_up = question;
    look_up->text = g_strdup(guest);
    look_up->sysfs = apmig_sysfs_ref(self->sysfs);
    g_ptr_array_add(self->look_ups, look_up);
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_REQUEST, make_look_up, hand_on_look_up, look_up);
}

void
libvirt_look_up_facts(ApmigHypervisor *vtable, const char *guest, ApmigGuestFactsFunc func,
                      gpointer user_data)
{
    begin_look_up((LibvirtHypervisor *)vtable, guest, (LookUp){.func = func, .user_data = user_data});
}

void
libvirt_describe_guest(ApmigHypervisor *vtable, const char *guest, ApmigStampOrder *order,
                       ApmigGuestDescribedFunc func, gpointer user_data)
{
    begin_look_up((LibvirtHypervisor *)vtable, guest,
                  (LookUp){.order = order, .described = func, .user_data = user_data});
}

void
libvirt_fail_look_ups(GPtrArray *look_ups, const char *reason)
{
    g_autoptr(GError) error = g_error_new_literal(APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, reason);

    for (guint i = 0; i < look_ups->len; i++)
        answer_look_up(g_ptr_array_index(look_ups, i), error);
}

/* --- stamps --------------------------------------------------------------------------------------- */

typedef struct {
    guint64 op;
    char *uuid;
    ApmigSysfs *sysfs;
    ApmigStampHost *host;
    ApmigStampOrder *order;
    ApmigStampPlan *plan;
} StampCall;

static void
stamp_call_free(gpointer data)
{
    StampCall *call = data;

    apmig_stamp_plan_free(call->plan);
    g_free(call->uuid);
    apmig_sysfs_unref(call->sysfs);
    apmig_stamp_host_unref(call->host);
    apmig_stamp_order_free(call->order);
    g_free(call);
}

static void
plan_stamp(ApmigLibvirtConnection *connection, const GError *no_connection, gpointer data)
{
    StampCall *call = data;

    if (connection) {
        call->plan = apmig_libvirt_plan_stamp(connection, call->uuid, call->sysfs, call->host, call->order);
        return;
    }
    call->plan = g_new0(ApmigStampPlan, 1);
    call->plan->result = APMIG_STAMPING_FAILED;
    call->plan->message = g_strdup(no_connection->message);
}

static void
tell_stamped(const LibvirtHypervisor *self, guint64 op, ApmigStamping result, const char *message)
{
    self->callbacks.told(&(ApmigEvent){.type = APMIG_EVENT_STAMP_FINISHED, .stamping = {op, result, message}},
                         self->user_data);
}

static void
on_stamped(LibvirtHypervisor *self, ApmigActResult result, const char *message, gpointer data)
{
    const StampCall *call = data;

    if (result == APMIG_ACT_DONE || result == APMIG_ACT_NOTHING)
        tell_stamped(self, call->op, APMIG_STAMPING_DONE, NULL);
    else if (result == APMIG_ACT_BUSY)
        tell_stamped(self, call->op, APMIG_STAMPING_BUSY, NULL);
    else
        tell_stamped(self, call->op, APMIG_STAMPING_FAILED, message);
}

static void
carry_out_plan(gpointer owner, gpointer data)
{
    LibvirtHypervisor *self = owner;
    StampCall *call = data;
    const ApmigStampPlan *plan = call->plan;
    ApmigActOrder order = {.uuid = call->uuid, .stamp = plan->xml};

    if (self && plan->other_keys)
        self->callbacks.other_keys(plan->other_keys, self->user_data);
    if (self && plan->change != APMIG_STAMP_KEEP) {
        order.verb = plan->change == APMIG_STAMP_WRITE ? APMIG_ACT_WRITE_STAMP : APMIG_ACT_REMOVE_STAMP;
        libvirt_act(self, &order, on_stamped, call, stamp_call_free);
        return;
    }
    if (self)
        tell_stamped(self, call->op, plan->result,
                     plan->result == APMIG_STAMPING_FAILED ? plan->message : NULL);
    stamp_call_free(call);
}

void
libvirt_stamp_guest(ApmigHypervisor *vtable, guint64 op, const char *uuid, ApmigStampOrder *order)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    StampCall *call = g_new0(StampCall, 1);

    call->op = op;
    call->uuid = g_strdup(uuid);
    call->sysfs = apmig_sysfs_ref(self->sysfs);
    call->host = apmig_stamp_host_ref(self->stamp_host);
    call->order = order;
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_STAMP, plan_stamp, carry_out_plan, call);
}

/* Counted by g_rc_box: a reference for each guest that is asked for. */
typedef struct {
    char *guest;
    ApmigStampsRemovedFunc func;
    gpointer user_data;
    GArray *stamped; /* (nullable): of ApmigGuestName */
    guint n_left;
    guint n_removed;
    GError *error; /* the first */
} Removal;

static void
removal_clear(gpointer data)
{
    Removal *removal = data;

    g_clear_pointer(&removal->stamped, g_array_unref);
    g_clear_error(&removal->error);
    g_free(removal->guest);
}

static void
removal_unref(gpointer data)
{
    g_rc_box_release_full(data, removal_clear);
}

static void
list_stamped(ApmigLibvirtConnection *connection, const GError *no_connection, gpointer data)
{
    Removal *removal = data;

    if (connection)
        removal->stamped = apmig_libvirt_list_stamped(connection, removal->guest, &removal->error);
    else
        removal->error = g_error_copy(no_connection);
}

/* The stamp of one guest. */
typedef struct {
    Removal *removal;
    const char *name; /* the removal's */
} Removing;

static void
removing_free(gpointer data)
{
    Removing *removing = data;

    removal_unref(removing->removal);
    g_free(removing);
}

static void
note_failure(const Removing *removing, ApmigActResult result, const char *message)
{
    GError **error = !removing->removal->error ? &removing->removal->error : NULL;

    if (result == APMIG_ACT_BUSY)
        g_set_error(
            error, APMIG_ERROR, APMIG_ERROR_BUSY,
            "guest '%s' has a job, such as a migration, during which its metadata cannot be written: try again "
            "when it is over",
            removing->name);
    else
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                    "the metadata of guest '%s' cannot be written: %s", removing->name, message);
}

static void
on_removed(LibvirtHypervisor *self, ApmigActResult result, const char *message, gpointer data)
{
    const Removing *removing = data;
    Removal *removal = removing->removal;

    removal->n_removed += result == APMIG_ACT_DONE;
    if (result != APMIG_ACT_DONE && result != APMIG_ACT_NOTHING)
        note_failure(removing, result, message);
    if (--removal->n_left == 0)
        removal->func(removal->n_removed, removal->error, removal->user_data);
}

static void
remove_listed(gpointer owner, gpointer data)
{
    LibvirtHypervisor *self = owner;
    Removal *removal = data;

    removal->n_left = removal->stamped ? removal->stamped->len : 0;
    if (self && removal->n_left == 0)
        removal->func(0, removal->error, removal->user_data);
    for (guint i = 0; self && removal->stamped && i < removal->stamped->len; i++) {
        const ApmigGuestName *guest = &g_array_index(removal->stamped, ApmigGuestName, i);
        Removing *removing = g_new(Removing, 1);

        *removing = (Removing){g_rc_box_acquire(removal), guest->name};
        libvirt_act(self, &(ApmigActOrder){.verb = APMIG_ACT_REMOVE_STAMP, .uuid = guest->uuid}, on_removed,
                    removing, removing_free);
    }
    removal_unref(removal);
}

void
libvirt_remove_stamps(ApmigHypervisor *vtable, const char *guest, ApmigStampsRemovedFunc func,
                      gpointer user_data)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    Removal *removal = g_rc_box_new0(Removal);

    removal->guest = g_strdup(guest);
    removal->func = func;
    removal->user_data = user_data;
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_STAMP, list_stamped, remove_listed, removal);
}

/* --- devices ------------------------------------------------------------------------------------- */

typedef struct {
    char *status_dir; /* (nullable) */
    ApmigSysfs *sysfs;
    GPtrArray *guests; /* of ApmigGuestDevices; NULL: libvirt does not answer */
    ApmigGuestDevicesFunc func;
    gpointer user_data;
} DeviceListing;

static void
add_devices(ApmigLibvirtConnection *connection, const ApmigGuestName *name, DeviceListing *listing)
{
    ApmigGuest *guest = apmig_libvirt_read_facts(connection, name->uuid, listing->sysfs);

    if (guest && guest->affected == APMIG_AFFECTED_YES)
        g_ptr_array_add(listing->guests,
                        apmig_guest_devices_new(name->uuid, name->name, (const char *const *)guest->devices,
                                                guest->scope));
    apmig_guest_free(guest);
}

static void
make_device_listing(ApmigLibvirtConnection *connection, const GError *no_connection, gpointer data)
{
    DeviceListing *listing = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) names = connection ? apmig_libvirt_list(connection, listing->status_dir, &error) : NULL;

    if (!names)
        return;
    listing->guests = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_guest_devices_free);
    for (guint i = 0; i < names->len; i++)
        add_devices(connection, &g_array_index(names, ApmigGuestName, i), listing);
}

static void
hand_on_device_listing(gpointer owner, gpointer data)
{
    DeviceListing *listing = data;

    if (owner)
        listing->func(listing->guests, listing->user_data);
    g_clear_pointer(&listing->guests, g_ptr_array_unref);
    g_free(listing->status_dir);
    apmig_sysfs_unref(listing->sysfs);
    g_free(listing);
}

void
libvirt_list_devices(ApmigHypervisor *vtable, ApmigGuestDevicesFunc func, gpointer user_data)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    DeviceListing *listing = g_new0(DeviceListing, 1);

    listing->status_dir = g_strdup(self->status_dir);
    listing->sysfs = apmig_sysfs_ref(self->sysfs);
    listing->func = func;
    listing->user_data = user_data;
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_REQUEST, make_device_listing,
                               hand_on_device_listing, listing);
}
