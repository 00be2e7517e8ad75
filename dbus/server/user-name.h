/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The name of a user, without waiting for it: the name service may ask the network (SSSD, LDAP), and the
 * main loop must not. A worker thread asks; when it has no answer in time, the number stands for the name:
 * the owner of a lock is the uid, the name is only for people.
 */
#pragma once

#include <glib.h>

typedef struct ApmigUserLookup ApmigUserLookup;

/* @name: borrowed; never NULL, valid UTF-8 without control characters */
typedef void (*ApmigUserNameFunc)(const char *name, gpointer user_data);

/**
 * apmig_user_name_look_up:
 *
 * @func is called once, within two seconds, in the thread of the default main context, never from within the
 * call. The returned lookup is then no more; before, apmig_user_lookup_cancel() makes sure that it is not called.
 */
ApmigUserLookup *apmig_user_name_look_up(guint32 uid, ApmigUserNameFunc func, gpointer user_data);
void apmig_user_lookup_cancel(ApmigUserLookup *lookup);
