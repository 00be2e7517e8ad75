/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of the bus interface, and of the private socket, once. */
#pragma once

#define APMIG_BUS_NAME             "org.apmigd1"
#define APMIG_BUS_PATH             "/org/apmigd1"
#define APMIG_BUS_LOCK_PREFIX      "/org/apmigd1/lock"
#define APMIG_BUS_MIGRATION_PREFIX "/org/apmigd1/migration"
#define APMIG_BUS_MANAGER          "org.apmigd1.Manager"
#define APMIG_BUS_LOCK             "org.apmigd1.Lock"
#define APMIG_BUS_MIGRATION        "org.apmigd1.Migration"
#define APMIG_BUS_ERROR_PREFIX     "org.apmigd1.Error."

#define APMIG_PRIVATE_SOCKET "private" /* in the runtime folder */

#define APMIG_ACTION_TAKE_LOCK           "org.apmigd1.take-lock"
#define APMIG_ACTION_RELEASE_LOCK        "org.apmigd1.release-lock"
#define APMIG_ACTION_RELEASE_OTHERS_LOCK "org.apmigd1.release-others-lock"
#define APMIG_ACTION_FORCE_RELEASE       "org.apmigd1.force-release"
#define APMIG_ACTION_TAKE_OVER_LOCK      "org.apmigd1.take-over-lock"
#define APMIG_ACTION_PERMIT_MIGRATION    "org.apmigd1.permit-migration"
#define APMIG_ACTION_DECLARE_KEYS        "org.apmigd1.declare-keys"
#define APMIG_ACTION_INSPECT             "org.apmigd1.inspect"
