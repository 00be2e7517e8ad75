/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- in the place of QEMU ------------------------------------------------------------------------- */

static GuestPage *page;

static void
on_signal(int number)
{
    __atomic_add_fetch(&page->signals, 1, __ATOMIC_SEQ_CST);
}

static void *
beat(void *index)
{
    gint64 *counter = &page->beats[GPOINTER_TO_INT(index)];

    for (;;) {
        __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
        usleep(300);
    }
    return NULL;
}

static void *
be_made(void *nothing)
{
    __atomic_add_fetch(&page->made, 1, __ATOMIC_SEQ_CST);
    usleep(200);
    return NULL;
}

static void *
make_threads(void *nothing)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 65536);
    for (;;)
        if (pthread_create(&thread, &attr, be_made, NULL) != 0)
            usleep(100);
    return NULL;
}

/* The parent of vfork() waits in state D until its child is gone. */
static void *
sleep_hard(void *nothing)
{
    pid_t child;

    __atomic_store_n(&page->ready, 2, __ATOMIC_SEQ_CST);
    child = vfork();
    if (child == 0) {
        usleep((useconds_t)page->sleeping * 1000);
        _exit(0);
    }
    return NULL;
}

int main(void);

int
main(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_t thread;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_PTRACER,
          PR_SET_PTRACER_ANY); /* Yama lets only ancestors trace otherwise, unless it is root */
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, GUEST_PAGE_FD, 0);
    sigaction(SIGRTMIN, &action, NULL);
    for (int i = 1; i < page->n_threads; i++)
        pthread_create(&thread, NULL, beat, GINT_TO_POINTER(i));
    if (page->churn)
        pthread_create(&thread, NULL, make_threads, NULL);
    __atomic_store_n(&page->ready, 1, __ATOMIC_SEQ_CST);
    if (page->sleeping)
        pthread_create(&thread, NULL, sleep_hard, NULL);
    beat(GINT_TO_POINTER(0));
    return 0;
}
