/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is put to the judge of policy/fleet: a document of the hosts that the caller names, and what they answer. There is no
 * store: this run stands for it by a number that it draws, and its questions are the revisions.
 */
#pragma once

#include "fleet/judge.h"
#include "fleet/release.h"
#include "hosts/crew.h"

typedef struct {
    char *cluster_id; /* of this run */
    gint64 revision;  /* of the newest question */
    gint64 asked_at;  /* when that was put: monotonic */
    ApmigFleetDocument *document;
    ApmigFleetLock *lock; /* in the document: its only one */
} HostsQuestion;

/**
 * hosts_question_new:
 * @names: (element-type utf8): all hosts, with those that are left out
 * @except: (element-type utf8): these; each is one of @names
 * @change_id: of the lock: "" where there is none
 * @scope: (transfer none): of which AP queues
 */
HostsQuestion *hosts_question_new(const GPtrArray *names, const GPtrArray *except, const char *change_id,
                                  const ApmigScope *scope);
void hosts_question_free(HostsQuestion *question);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostsQuestion, hosts_question_free)

/* A question is put: only what is answered from now on counts. @state: what is asked of the lock */
void hosts_question_put(HostsQuestion *question, ApmigFleetLockState state);

/* Returns: (transfer full): by what hosts_ask() has brought. */
ApmigFleetVerdict *hosts_question_judge(const HostsQuestion *question, const GPtrArray *hosts);

/* Returns: (transfer full): by what hosts_ask_keys() has brought. */
ApmigFleetRelease *hosts_question_judge_release(const HostsQuestion *question, const GPtrArray *hosts);

/* Returns: (transfer full) (nullable): a clause on what is in the way on this host, which has answered; NULL: nothing. */
char *hosts_question_problem(const HostsHost *host);
