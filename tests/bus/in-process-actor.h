/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd-act does, done in this process: libvirt's test driver has its guests within the process that uses it, so that
 * no other one could change them.
 */
#pragma once

#include "libvirt/actor.h"

/* @uri: of libvirt. With "test:///default", whose guests all connections of the process share, those of the folder that
 * APMIGD_TEST_GUESTS names are made. Needs apmig_libvirt_use_main_loop() before it is asked. */
ApmigActor *apmig_in_process_actor_new(const char *uri);
