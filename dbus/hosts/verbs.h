/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs over many hosts. Each takes its arguments as those of ctl.h do, and gives an exit status.
 */
#pragma once

#include "fleet/judge.h"
#include "hosts/options.h"
#include "hosts/question.h"
#include "hosts/task.h"

int hosts_verb_lock(int argc, char **argv, GError **error);
int hosts_verb_unlock(int argc, char **argv, GError **error);
int hosts_verb_ready(int argc, char **argv, GError **error);
int hosts_verb_wait(int argc, char **argv, GError **error);
int hosts_verb_watch(int argc, char **argv, GError **error);
int hosts_verb_keys(int argc, char **argv, GError **error);
int hosts_verb_list(int argc, char **argv, GError **error);
int hosts_verb_status(int argc, char **argv, GError **error);
int hosts_verb_check(int argc, char **argv, GError **error);
int hosts_verb_doctor(int argc, char **argv, GError **error);

/* --- what they share (change.c) ---------------------------------------------------------------------- */

/* As apmig_scope_parse(), with an exit status for its error. */
ApmigScope *hosts_parse_scope(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * hosts_find_change: finds of which AP queues the lock of a change is, on hosts that then have looked
 * @scope: (nullable): that were given; they need not be looked for
 * @error: #APMIG_EXIT_NOT_FOUND: no host has one; #CTL_EXIT_USAGE: there are several
 *
 * Returns: (transfer full) (nullable): what is to be asked
 */
HostsTask *hosts_find_change(HostsCrew *crew, const HostsOptions *options, const char *change_id,
                             const char *scope, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Puts the question whether keys may be changed now to all hosts. Returns: (transfer full) */
ApmigFleetVerdict *hosts_ask_all(HostsCrew *crew, HostsQuestion *question, HostsTask *task);
