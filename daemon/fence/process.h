/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Proof that a pid is the QEMU of a guest. Its /proc/PID and its pidfd are open before anything is read, and refer
 * to that one process for good, whatever becomes of the number.
 */
#pragma once

#include "fence/protocol.h"

#include <sys/types.h>

/* Where things are looked up; elsewhere than usual only in tests and namespaces. */
typedef struct {
    const char *proc_root;  /* "/proc" */
    const char *sysfs_root; /* "/sys" */
    const char *pid_dir;    /* libvirt's: "/run/libvirt/qemu" */
    const char *lock_dir;   /* of this program alone: "/run/apmigd-fence" */
} ApmigFencePaths;

typedef struct {
    pid_t pid;
    guint64 start_time;
    int pidfd;
    int proc_root;
    int proc; /* /proc/PID */
    gboolean
        incoming; /* QEMU was started to take in a guest, with its processors stopped; whether it has is not said */
} ApmigProcess;

#define APMIG_PROCESS_INIT                                                                                   \
    {                                                                                                        \
        .pidfd = -1, .proc_root = -1, .proc = -1                                                             \
    }

/**
 * apmig_process_prove:
 * @process: initialized; filled as far as the proof went
 * @reply: on failure gets %APMIG_FENCE_REFUSED and a sentence; on success the pid and its start time
 *
 * In this order: the pidfd, the start time, the guest's UUID on the command line (libvirt starts QEMU with "-uuid",
 * qemuBuildCommandLine()), and libvirt's pid file.
 */
gboolean apmig_process_prove(const ApmigFenceRequest *request, const ApmigFencePaths *paths,
                             ApmigProcess *process, ApmigFenceReply *reply) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: 0, or errno. */
int apmig_process_kill(const ApmigProcess *process);

/* Returns: a duplicate of the process's descriptor @fd, or -1 with errno set. */
int apmig_process_duplicate(const ApmigProcess *process, int fd);

void apmig_process_clear(ApmigProcess *process);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApmigProcess, apmig_process_clear)
