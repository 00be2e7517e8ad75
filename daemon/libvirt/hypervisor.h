/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hypervisor: active guests, their job states, and the one call that ends an outgoing migration. libvirt is
 * one implementation (hypervisor.c); the test suites bring a scripted one. Every function is called in
 * the main loop's thread and returns at once; every callback comes in that thread, never from within the call.
 */
#pragma once

#include "cards/sysfs.h"
#include "engine/event.h"
#include "libvirt/actor.h"
#include "libvirt/stamper.h"

typedef struct ApmigHypervisor ApmigHypervisor;

typedef struct {
    /* Connected, events registered: from here on nothing is missed. @has_hook: it is the QEMU driver, whose
     * hook script gates what comes in. */
    void (*view_started)(const char *uri, gboolean has_hook, gpointer user_data);
    /* VIEW_LOST (also after each failed attempt to connect: every question under way is void, a late answer is ignored),
     * GUESTS_LISTED, FACTS_READ, GUEST_ANSWERED, HEARTBEAT_ANSWERED, STEP_FINISHED, GUEST_NEWS, HINT, HINTS_CHANGED,
     * STEPS_CHANGED, STAMP_FINISHED. @event: borrowed, without its times. */
    void (*told)(const ApmigEvent *event, gpointer user_data);
    /* Found before a stamp was written; comes before STAMP_FINISHED. */
    void (*other_keys)(const ApmigOtherKeys *other, gpointer user_data);
} ApmigHypervisorCallbacks;

/* @facts NULL: @error says why (APMIG_ERROR_NO_SUCH_GUEST, APMIG_ERROR_HYPERVISOR_UNAVAILABLE). */
typedef void (*ApmigGuestFactsFunc)(const ApmigGuestFacts *facts, const GError *error, gpointer user_data);

/* @xml NULL: @error says why, as of ApmigGuestFactsFunc, or APMIG_ERROR_BUSY: it comes in. */
typedef void (*ApmigGuestDescribedFunc)(const char *xml, const GError *error, gpointer user_data);

/* @error NULL: there are none any more. Else it names a guest whose stamp is still there, and why; @n_removed of others are
 * gone nevertheless. Not called after the connection was lost. */
typedef void (*ApmigStampsRemovedFunc)(guint n_removed, const GError *error, gpointer user_data);

/* An active guest that is affected, its mediated devices and its queues. */
typedef struct {
    char *uuid;
    char *name;
    GStrv devices;     /* UUIDs, lower case */
    ApmigScope *scope; /* all when it is not known */
} ApmigGuestDevices;

/* @scope: (nullable): not known */
ApmigGuestDevices *apmig_guest_devices_new(const char *uuid, const char *name, const char *const *devices,
                                           const ApmigScope *scope);
ApmigGuestDevices *apmig_guest_devices_copy(const ApmigGuestDevices *guest);
void apmig_guest_devices_free(ApmigGuestDevices *guest);

/* @guests: (nullable) (element-type ApmigGuestDevices): NULL: the hypervisor does not answer */
typedef void (*ApmigGuestDevicesFunc)(const GPtrArray *guests, gpointer user_data);

struct ApmigHypervisor {
    void (*start)(ApmigHypervisor *self, const ApmigHypervisorCallbacks *callbacks, gpointer user_data);
    /* Asks for a list of the active guests. One that lacks a guest which runs here is an error. */
    void (*list_guests)(ApmigHypervisor *self, ApmigToken token);
    /* Asks for the job state of one; with @want_facts also what its XML says, unless it is an incoming guest,
     * whose XML must not be asked for (libvirt 11.0 to 11.4 then wait 30 s: qemuDomainGetXMLDesc()). What it says is told at
     * once, as FACTS_READ, for the job of a guest whose monitor hangs takes 30 s; where the job has to be known first, with the
     * answer. The facts of one whose scope varies are told with every answer. */
    void (*query_guest)(ApmigHypervisor *self, ApmigToken token, const char *uuid, gboolean want_facts);
    /* Asks, on a connection of its own, what a worker of normal priority has to answer: the job of a guest, or without
     * @uuid the states of all. Lists, states and look-ups are answered even when nothing else is. Has whoever makes
     * steps be ready for one, too: what is in the way is told as STEPS_CHANGED, and the log says so. */
    void (*heartbeat)(ApmigHypervisor *self, ApmigToken token, const char *uuid);
    /* Ends the outgoing migration of one; whoever does it makes sure that this is what its job is. */
    void (*run_step)(ApmigHypervisor *self, guint64 op, ApmigStep step, const char *uuid);
    /* Has the stamp of an active guest say what it should (apmig_stamp_compose()), or take it away, unless the guest has a
     * job. @order: (transfer full). Like the next one, it may take 30 s, and is called again only when it has ended. */
    void (*stamp_guest)(ApmigHypervisor *self, guint64 op, const char *uuid, ApmigStampOrder *order);
    /* Takes away the stamp of a guest by name or UUID, or with "" those of all active ones. */
    void (*remove_stamps)(ApmigHypervisor *self, const char *guest, ApmigStampsRemovedFunc func,
                          gpointer user_data);
    /* Facts of a guest by name or UUID, active or not. */
    void (*look_up_facts)(ApmigHypervisor *self, const char *guest, ApmigGuestFactsFunc func,
                          gpointer user_data);
    /* What its destination would be asked with, see apmig_stamp_describe(), of a guest by name or UUID, active or not.
     * @order: (transfer full) */
    void (*describe_guest)(ApmigHypervisor *self, const char *guest, ApmigStampOrder *order,
                           ApmigGuestDescribedFunc func, gpointer user_data);
    /* Of all active guests that are affected; of an incoming one nothing is known. The answer may never come: when
     * the connection is lost before it. */
    void (*list_devices)(ApmigHypervisor *self, ApmigGuestDevicesFunc func, gpointer user_data);
    /* No callback after it. Ends within a second even when calls hang. */
    void (*free)(ApmigHypervisor *self);
};

/**
 * apmig_libvirt_hypervisor_new:
 * @uri: such as "qemu:///system"
 * @status_dir: (nullable): libvirt's status folder ("/run/libvirt/qemu"), watched for hints, and in which the active guests
 *   lie by their names; NULL: none
 * @sysfs: where sysfs is mounted: the queues of active guests are read there
 * @actor: (transfer full): who makes the changes, for all connections here are read-only
 *
 * Connects in the background once started, again and again with a growing pause (1 s to 30 s).
 */
ApmigHypervisor *apmig_libvirt_hypervisor_new(const char *uri, const char *status_dir, ApmigSysfs *sysfs,
                                              ApmigActor *actor);
