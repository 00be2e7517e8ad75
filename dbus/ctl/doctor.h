/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of "apmigctl doctor" share: what was found out, one finding for each thing that was looked at.
 * doctor-daemon.c looks at apmigd, doctor-libvirt.c at libvirt and its hook, doctor-files.c at files and the helper's
 * socket.
 */
#pragma once

#include "ctl/bus.h"
#include "base/config.h"

typedef enum {
    CTL_VERDICT_OK,
    CTL_VERDICT_UNKNOWN, /* it could not be looked at: that all is well cannot be said then */
    CTL_VERDICT_PROBLEM,
} CtlVerdict;

typedef struct {
    sd_bus *bus;
    const char *config_file;
    const char *fence_socket;
    const ApmigConfig *config; /* the defaults when the file does not read */
    JsonObject *manager;       /* (nullable): apmigd's properties; NULL: it does not answer */
    gint64 daemon_uid;         /* as whom apmigd runs; -1: not known */
    GPtrArray *findings;
} CtlDoctor;

/**
 * ctl_doctor_tell: adds a finding
 * @check: its name, for programs: lower case, part of the interface
 * @remedy: (nullable): what to do or to type; NULL with CTL_VERDICT_OK alone
 * @format: a sentence on what was found
 */
void ctl_doctor_tell(CtlDoctor *doctor, CtlVerdict verdict, const char *check, const char *remedy,
                     const char *format, ...) G_GNUC_PRINTF(5, 6);

/* Returns: (transfer full): for CtlDoctor. */
GPtrArray *ctl_doctor_findings_new(void);
gboolean ctl_doctor_is_well(const CtlDoctor *doctor);
JsonNode *ctl_doctor_findings_to_json(const CtlDoctor *doctor);
/* @quiet: without what is as it should be */
void ctl_doctor_print_findings(const CtlDoctor *doctor, gboolean quiet);

/* Each tells what it finds. Whatever cannot be looked at is a finding too. */
/* First: fills manager and daemon_uid too. */
void ctl_doctor_check_daemon(CtlDoctor *doctor);
void ctl_doctor_check_hook(CtlDoctor *doctor);
void ctl_doctor_check_workers(CtlDoctor *doctor);
void ctl_doctor_check_folders(CtlDoctor *doctor);
void ctl_doctor_check_permissions(CtlDoctor *doctor);
void ctl_doctor_check_helper(CtlDoctor *doctor);
