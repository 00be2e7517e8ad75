/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of the active guests, and whether all are in it. */
#pragma once

#include "engine/event.h"
#include "libvirt/connection.h"

/**
 * apmig_libvirt_list:
 * @status_dir: (nullable): libvirt's status folder, where NAME.xml lies while a guest is active; NULL: none
 * @error: #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with libvirt's sentence, or with one on the guest that is missing
 *
 * An access driver takes out of the list what apmigd may not see, and says nothing of it (virConnectListAllDomainsEnsureACL()
 * and its like in virDomainObjListCollect()). So a guest of which there is a file before and after, and which is not listed,
 * makes it an error; the files are not read. Where the folder cannot be read nothing can be missed. Blocks; in the thread
 * that the connection belongs to.
 *
 * Returns: (transfer full) (nullable) (element-type ApmigGuestName): the active guests, which own their strings.
 */
GArray *apmig_libvirt_list(ApmigLibvirtConnection *connection, const char *status_dir,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
