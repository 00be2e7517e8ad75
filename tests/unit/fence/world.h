/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The whole helper, as a process of its own on one end of a socket pair, against a process in QEMU's place whose
 * descriptors are what a folder in the place of /proc says they are.
 */
#pragma once

#include "fence/protocol.h"
#include "fence/fake-device.h"
#include "fence/guest.h"

#include <sys/types.h>

#define UUID  "6b1f8a2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
#define MDEV  "7c2f9b3e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
#define OTHER "00000000-3c4d-4e5f-8a9b-0c1d2e3f4a5b"

#define LOADING "flags:\t0100001\n"
#define SAVING  "flags:\t0100000\n"

typedef struct {
    Guest guest;
    int device_fd[2];
    FakeDevice *device[2];
    char *root;            /* with proc, sys and run in it */
    char *cdev;            /* (nullable) */
    const char *failpoint; /* (nullable): of the helper; it ends when the file "end" is there */
    uid_t peer;
    ApmigFenceRequest request;
    ApmigFenceReply reply;
    pid_t helper;
    int connection;
} Fixture;

/* A running guest, with one device that runs and no migration, and a request to fence it as an incoming one. */
void set_up(Fixture *f);
void set_up_with(Fixture *f, const char *const *args);
void tear_down(Fixture *f);

char *path_of(const Fixture *f, const char *format, ...) G_GNUC_PRINTF(2, 3);
void write_file(const char *path, const char *content);

/* What /proc/PID/fd/@number is; @info: of its fdinfo. */
void set_descriptor(const Fixture *f, int number, const char *target, const char *info);
void unset_descriptor(const Fixture *f, int number);
void set_pid_file(const Fixture *f, int pid);

/* An incoming guest in the middle of its load. */
void be_loading(Fixture *f);
/* Its devices are vfio-ap's; else they are of a driver that ends its sessions with the state. */
void be_vfio_ap(Fixture *f);

void start_helper(Fixture *f);
/* Returns: how the helper ended. */
int end_helper(Fixture *f);

/* One packet and the reply to it. Returns: how the helper ended. */
int send_packet(Fixture *f, gconstpointer packet, gsize length);
/* Once more, if a loaded test machine could not freeze the guest in time. */
void ask(Fixture *f);

void assert_reply(const Fixture *f, ApmigFenceResult result, ApmigVfioState before, ApmigVfioState after);
/* Nothing was set, and the guest runs. */
void assert_untouched(const Fixture *f);
/* The request is refused, in a sentence with these @words. */
void assert_refused(Fixture *f, const char *words);
