/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of libvirt's side of the vtable share: hypervisor.c has the view and the sessions, requests.c all other
 * questions, acts.c what is asked of the actor. In the main loop's thread.
 */
#pragma once

#include "libvirt/actor.h"
#include "libvirt/hypervisor.h"
#include "libvirt/session.h"
#include "libvirt/status-watch.h"

typedef struct {
    ApmigHypervisor vtable;
    char *uri;
    char *status_dir;
    ApmigSysfs *sysfs;
    ApmigStampHost *stamp_host;
    ApmigActor *actor;
    GHashTable *acts;         /* acts.c: set of its Act: under way */
    gboolean readiness_asked; /* of the actor, who has not answered */
    char *step_trouble; /* (nullable): why a migration could not be ended now, as a clause, as told last */
    ApmigHypervisorCallbacks callbacks;
    gpointer user_data;
    gboolean hints_told; /* whether the status folder is watched; until then the engine takes it that it is */
    ApmigStatusWatch *status_watch;
    ApmigLibvirtSession *session; /* never NULL once started: between two attempts it is the next one's */
    guint64 session_number;
    gboolean connected;
    guint n_failures; /* attempts in a row */
    guint retry_source;
    GPtrArray
        *look_ups;     /* of LookUp, not owned: under way, to be answered even when the connection is lost */
    GHashTable *known; /* uuid -> Known: guests whose queues are read anew with every answer */
} LibvirtHypervisor;

/* @message: a clause */
typedef void (*LibvirtActFunc)(LibvirtHypervisor *self, ApmigActResult result, const char *message,
                               gpointer data);

/* acts.c. Returns: (transfer full) */
GHashTable *libvirt_acts_new(void);
/* @func: called later, unless the session is another one by then, or all is freed. @free_data: called in any case */
void libvirt_act(LibvirtHypervisor *self, const ApmigActOrder *order, LibvirtActFunc func, gpointer data,
                 GDestroyNotify free_data);
/* A member of the vtable. */
void libvirt_run_step(ApmigHypervisor *vtable, guint64 op, ApmigStep step, const char *uuid);
/* Has the actor connect, so that a step has not to wait for it; what is in the way is told, and that nothing is any more. */
void libvirt_ask_readiness(LibvirtHypervisor *self);

/* requests.c: members of the vtable. */
void libvirt_look_up_facts(ApmigHypervisor *vtable, const char *guest, ApmigGuestFactsFunc func,
                           gpointer user_data);
void libvirt_describe_guest(ApmigHypervisor *vtable, const char *guest, ApmigStampOrder *order,
                            ApmigGuestDescribedFunc func, gpointer user_data);
void libvirt_stamp_guest(ApmigHypervisor *vtable, guint64 op, const char *uuid, ApmigStampOrder *order);
void libvirt_remove_stamps(ApmigHypervisor *vtable, const char *guest, ApmigStampsRemovedFunc func,
                           gpointer user_data);
void libvirt_list_devices(ApmigHypervisor *vtable, ApmigGuestDevicesFunc func, gpointer user_data);

/* Answers all of @look_ups, which were under way when the connection was lost, with @reason. */
void libvirt_fail_look_ups(GPtrArray *look_ups, const char *reason);
