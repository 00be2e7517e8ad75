/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apmigctl's verbs. Each parses its own arguments (argv[0] is the verb), does its work over the bus alone, and
 * returns an exit status; with @error set, main prints the sentence and takes the status from the error's code.
 */
#pragma once

#include <glib.h>

/* Runs the verb that @argv names, of all there are. Returns: an exit status. */
int ctl_main(int argc, char **argv);

int ctl_verb_lock(int argc, char **argv, GError **error);
int ctl_verb_unlock(int argc, char **argv, GError **error);
int ctl_verb_status(int argc, char **argv, GError **error);
int ctl_verb_list(int argc, char **argv, GError **error);
int ctl_verb_migrations(int argc, char **argv, GError **error);
int ctl_verb_check(int argc, char **argv, GError **error);
int ctl_verb_unstamp(int argc, char **argv, GError **error);
int ctl_verb_queues(int argc, char **argv, GError **error);
int ctl_verb_keys(int argc, char **argv, GError **error);
int ctl_verb_declare(int argc, char **argv, GError **error);
int ctl_verb_policy(int argc, char **argv, GError **error);
int ctl_verb_wait(int argc, char **argv, GError **error);
int ctl_verb_watch(int argc, char **argv, GError **error);
int ctl_verb_ready(int argc, char **argv, GError **error);
int ctl_verb_affected(int argc, char **argv, GError **error);
int ctl_verb_take_over(int argc, char **argv, GError **error);
int ctl_verb_extend(int argc, char **argv, GError **error);
int ctl_verb_annotate(int argc, char **argv, GError **error);
int ctl_verb_permit(int argc, char **argv, GError **error);
int ctl_verb_doctor(int argc, char **argv, GError **error);
int ctl_verb_metrics(int argc, char **argv, GError **error);
int ctl_verb_report(int argc, char **argv, GError **error);

/* Called by libvirt's hook script: 0 lets the guest in, 1 does not, anything else is no answer. */
int ctl_verb_hook(int argc, char **argv, GError **error);
