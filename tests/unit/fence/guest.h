/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process with many tasks in the place of a QEMU, and what it tells of itself in memory that it shares with the
 * test: as long as it runs, the numbers grow.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#define GUEST_PAGE_FD     100 /* a GuestPage */
#define GUEST_DEVICE_FD   101 /* a FakeDevice; a second one may follow */
#define GUEST_SESSION_FD  103
#define GUEST_MAX_THREADS 64

typedef struct {
    gint64 beats[GUEST_MAX_THREADS];
    gint64 made;    /* threads, by one that does nothing else */
    gint64 signals; /* that arrived */
    gint32 n_threads;
    gint32 churn;    /* make threads all the time */
    gint32 sleeping; /* one task sleeps uninterruptibly for so many msec */
    gint32 ready;
} GuestPage;

typedef struct {
    pid_t pid;
    guint64 start_time;
    GuestPage *page;
    int page_fd;
} Guest;

/**
 * guest_start:
 * @set_up: (nullable): what the page says besides the number of threads
 * @args: (nullable): of its command line
 * @fds: (nullable): pairs of a descriptor of ours and its number there, ended by -1
 */
void guest_start(Guest *guest, int n_threads, const GuestPage *set_up, const char *const *args,
                 const int *fds);

/* Kills it, if it still is there, and waits for it. */
void guest_end(Guest *guest);

/* Returns: whether any of its threads has gone on within that time. */
gboolean guest_runs(const Guest *guest, guint msec);

/* Returns: the state of its first task, as in /proc/PID/stat. */
char guest_letter(const Guest *guest);

/* Returns: whether it runs again before a second is over. */
gboolean guest_comes_back(const Guest *guest);

/* As g_test_add_func() and g_test_add_data_func(): a test that freezes it, skipped where there is no ptrace(). */
void guest_add_traced_test(const char *path, GTestFunc test);
void guest_add_traced_data_test(const char *path, gconstpointer data, GTestDataFunc test);
