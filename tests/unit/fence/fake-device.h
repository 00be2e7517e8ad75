/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VFIO device that is a file: its descriptor can be held and duplicated like one, and the helper's tests are linked
 * with ioctl()s that read and write it.
 */
#pragma once

#include <glib.h>

#define FAKE_DEVICE_MAGIC 0x41504649
#define FAKE_CDEV_FILE                                                                                       \
    "APMIGD_FAKE_DEVICE" /* in the environment: the file of a device that is a character device */
#define FAKE_GUEST "APMIGD_FAKE_GUEST" /* its pid: is any of its tasks stopped when the driver is asked? */

typedef struct {
    guint32 magic;
    guint32 info_flags;
    guint64 migration_flags;
    guint32 state;
    gint32 info_errno; /* what a call fails with */
    gint32 migration_errno;
    gint32 get_errno;
    gint32 set_errno;
    guint32 state_after_failure; /* with @set_errno */
    guint32 ignores_set;         /* says yes, does nothing */
    guint32 get_msec;            /* a GET takes so long */
    guint32 set_msec;            /* a SET takes so long */
    /* What happened: */
    guint32 n_gets;
    guint32 n_sets;
    guint32 last_set;
    guint32 in_set;  /* one is under way */
    guint32 stopped; /* a task of the guest was, when the driver was asked */
} FakeDevice;
