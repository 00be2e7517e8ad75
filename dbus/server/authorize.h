/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may call what: the one table of methods and polkit actions, and the question to polkit. Root needs no
 * polkit; without polkit there is only root.
 */
#pragma once

#include <glib.h>
#include <systemd/sd-bus.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_message, sd_bus_message_unref)

typedef enum {
    APMIG_ACCESS_FREE, /* it tells what is and changes nothing: everybody, unless the site has polkit close reading */
    APMIG_ACCESS_ROOT,   /* root alone */
    APMIG_ACCESS_POLKIT, /* root, and whom polkit allows @action */
} ApmigAccess;

typedef struct {
    const char *interface;
    const char *member;
    ApmigAccess access;
    const char *action;        /* polkit's, with APMIG_ACCESS_POLKIT */
    const char *others_action; /* (nullable): instead of it, on what belongs to another user */
    const char *force_action;  /* (nullable): in addition, when the caller forces it */
    const char *attest_action; /* (nullable): in addition, when the caller attests keys with it */
    gboolean is_costly;        /* its arguments are large, or work to read */
    gboolean is_at_once;       /* sd-bus answers it, or a handler that waits for nothing: see hold-back.c */
    const char *request;       /* (nullable): what the journal calls it; NULL: nothing changes by it */
} ApmigMethodRule;

/* Returns: (nullable): the row of the method that @message calls; a method without one is nobody's. */
const ApmigMethodRule *apmig_method_rule(sd_bus_message *message);

/* What polkit's rules are told of a request, for action.lookup(); each (nullable): it has none. */
typedef struct {
    const char *scope; /* canonical */
    const char *lock;  /* its id */
    const char *owner; /* of that lock: a user's name */
    const char *guest; /* name or UUID, as it was asked for */
} ApmigAuthorizationDetails;

typedef struct ApmigAuthorization ApmigAuthorization;

typedef enum {
    APMIG_POLKIT_ANSWERED,
    APMIG_POLKIT_ABSENT, /* it does not run, and the bus knows of nothing that it could start */
    APMIG_POLKIT_FAILED, /* it gave no answer, an error, or could not be started */
} ApmigPolkitState;

/* @denied: (nullable): NULL is yes; else G_IO_ERROR_PERMISSION_DENIED with a sentence that names the action */
typedef void (*ApmigAuthorizationFunc)(const GError *denied, gpointer user_data);

/**
 * apmig_authorization_new:
 * @message: whose sender is the subject; it is let into a dialogue only if the message allows it
 * @action: polkit's
 * @details: may be told to polkit by the owner of the action alone, which apmigd's user is (org.apmigd1.policy)
 * @error: the question could not be sent
 *
 * Asks org.freedesktop.PolicyKit1.Authority.CheckAuthorization on the message's bus. @func is called once,
 * later, unless the authorization is freed before: then polkit is told to close its dialogue. In @func the
 * authorization may be freed.
 */
ApmigAuthorization *apmig_authorization_new(sd_bus_message *message, const char *action,
                                            const ApmigAuthorizationDetails *details,
                                            ApmigAuthorizationFunc func, gpointer user_data,
                                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What polkit did; from within its function. */
ApmigPolkitState apmig_authorization_polkit_state(const ApmigAuthorization *authorization);
void apmig_authorization_free(ApmigAuthorization *authorization);
