/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The description of this host's crypto hardware, read in a thread of its own: sysfs waits for the kernel's locks while
 * queues are reset. At most one such thread at a time. Main loop's thread only; nothing blocks.
 */
#pragma once

#include "ap/ap.h"
#include "cards/sysfs.h"

typedef struct ApmigHostReader ApmigHostReader;

/* @host: (transfer full) (nullable): NULL: it could not be read in time */
typedef void (*ApmigHostReadFunc)(ApmigApHost *host, gpointer user_data);

/* @host: as it was read, for whatever cause; borrowed for the call. @asked_at, @began_at: monotonic: when it was first
 * asked for, and when the reading began */
typedef void (*ApmigHostReadingFunc)(const ApmigApHost *host, gint64 asked_at, gint64 began_at,
                                     gpointer user_data);

ApmigHostReader *apmig_host_reader_new(ApmigSysfs *sysfs);
/* @func: told of every reading once, however many have asked for it, and when it is too late for them, too */
void apmig_host_reader_set_func(ApmigHostReader *reader, ApmigHostReadingFunc func, gpointer user_data);
/* @reader: (nullable): what is being read is dropped, without an answer */
void apmig_host_reader_free(ApmigHostReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigHostReader, apmig_host_reader_free)

/* @func: called once, later, never from within the call. The reading begins after this call, not before. */
void apmig_host_reader_read(ApmigHostReader *reader, gint64 limit_usec, ApmigHostReadFunc func,
                            gpointer user_data);
