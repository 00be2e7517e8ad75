/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this host is called in stamps: for programs by an id, for people by its name.
 */
#pragma once

#include <glib.h>

typedef struct {
    char *id;          /* (nullable): UUID, lower case */
    const char *basis; /* what it rests on: "hardware", "machine-id" or "none" */
    char *name;        /* the host's, as hostname(1) has it */
    const char *no_id; /* (nullable): a sentence, without an id */
} ApmigHostIdentity;

/**
 * apmig_host_identity_new:
 * @sysfs_root: where sysfs is mounted
 * @proc_root: where proc is mounted
 *
 * The id is made of /etc/machine-id, which clones of a disk share, and of what the machine says of itself, which they do
 * not, under a constant of apmigd's: neither is to be shown to others (machine-id(5)). It lasts as long as these do; when
 * it changes, guests' stamps are written anew.
 *
 * The machine: on IBM Z the lines of /proc/sysinfo that name machine, LPAR and z/VM or KVM guest (arch/s390/kernel/sysinfo.c
 * stsi_1_1_1(), stsi_2_2_2(), stsi_3_2_2(); everybody may read them). Elsewhere class/dmi/id/product_uuid of sysfs
 * (drivers/firmware/dmi-id.c), which root alone may read: a daemon that is not root has the machine id alone there.
 * Not libvirt's host UUID: it is the same product_uuid, or drawn anew with each start of libvirtd (virSetHostUUIDStr()).
 *
 * Returns: (transfer full)
 */
ApmigHostIdentity *apmig_host_identity_new(const char *sysfs_root, const char *proc_root);
/* @identity: (nullable) */
void apmig_host_identity_free(ApmigHostIdentity *identity);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigHostIdentity, apmig_host_identity_free)
