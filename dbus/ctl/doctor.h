/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What looks at this host and its apmigd, for "apmigctl doctor", and as far as apmigd tells it for "apmigctl status --check":
 * doctor-daemon.c at apmigd, doctor-libvirt.c at libvirt, doctor-hook.c at its hook script, doctor-files.c at files and the
 * helpers' sockets.
 */
#pragma once

#include "base/config.h"
#include "ctl/bus.h"
#include "ctl/findings.h"

typedef struct {
    sd_bus *bus;
    const char *config_file;
    const char *act_socket;
    const char *fence_socket;
    const ApmigConfig *config; /* (nullable): NULL: files are not looked at, the host may be another one */
    GPtrArray *findings;
    /* by ctl_doctor_check_daemon() */
    JsonObject *manager;   /* (nullable): apmigd's properties; NULL: it does not answer */
    GPtrArray *locks;      /* with manager */
    GPtrArray *migrations; /* with manager */
    gint64 daemon_uid;     /* as whom apmigd runs; -1: not known */
} CtlDoctor;

/* @doctor: zeroed. Its owner fills in what is to be looked at. */
void ctl_doctor_init(CtlDoctor *doctor);
void ctl_doctor_clear(CtlDoctor *doctor);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CtlDoctor, ctl_doctor_clear)

/* doctor-hook.c: @path: of a hook script that is there. @daemon: libvirt's, "libvirtd" or "virtqemud" */
void ctl_doctor_check_script(CtlDoctor *doctor, const char *path, const char *daemon);

/* Each adds what it finds. Whatever cannot be looked at is a finding too. */
/* First: what apmigd tells. */
void ctl_doctor_check_daemon(CtlDoctor *doctor);
/* By files, where they can be looked at, else what apmigd says of it. */
void ctl_doctor_check_hook(CtlDoctor *doctor);
/* Those that look at files need the configuration. */
void ctl_doctor_check_read_only(CtlDoctor *doctor);
void ctl_doctor_check_workers(CtlDoctor *doctor);
void ctl_doctor_check_folders(CtlDoctor *doctor);
void ctl_doctor_check_permissions(CtlDoctor *doctor);
void ctl_doctor_check_helpers(CtlDoctor *doctor);

/* apmigd does not answer, and @error says why: for who finds that out before it can be asked. */
void ctl_doctor_tell_no_answer(CtlDoctor *doctor, const GError *error);
