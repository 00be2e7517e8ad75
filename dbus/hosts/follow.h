/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Following many hosts: each is asked as hosts_ask() does, and asked anew when its apmigd has told of a change. None waits for
 * another, and of each the newest answer can be looked at while it is asked again.
 */
#pragma once

#include "hosts/task.h"

typedef enum {
    HOSTS_ANSWERS_COMING, /* to a question to all at once; of who has not answered it there is an older one */
    HOSTS_ANSWERS_TOGETHER, /* all have answered it, and it is the first look at that */
    HOSTS_ANSWERS_APART,    /* that has been looked at, and who had a cause was asked again since */
} HostsAnswers;

#define HOSTS_GO_ON   (-1)
#define HOSTS_ASK_ALL (-2) /* go on, and ask all hosts at once */

/**
 * HostsLookFunc: looks at what there is, whenever a host has answered or failed, and when the time is up; not before all have
 *   answered once
 * @answers: (element-type HostsHost): the newest of each host, in the order of their names
 *
 * Returns: an exit status, #HOSTS_GO_ON or #HOSTS_ASK_ALL
 */
typedef int (*HostsLookFunc)(const GPtrArray *answers, HostsAnswers are, gpointer data);

/**
 * hosts_follow: asks all hosts at once, looks, and asks again whoever has changed, was silent or has failed. Main thread.
 * @task: (transfer none): as for hosts_ask()
 * @deadline: monotonic; G_MAXINT64 for none. Afterwards @look goes on only by #HOSTS_ASK_ALL, or while answers are coming
 *
 * Returns: the exit status of @look
 */
int hosts_follow(HostsCrew *crew, HostsTask *task, gint64 deadline, HostsLookFunc look, gpointer data);
