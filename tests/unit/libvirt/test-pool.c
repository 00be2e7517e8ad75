/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The threads that call libvirt: how many there are, and what becomes of those that hang.
 */
#include "libvirt/pool.h"

#include <libvirt/virterror.h>

#include "libvirt/fake-libvirt.h"

#define URI "test:///default"

#define WAIT_USEC (20 * G_USEC_PER_SEC)
#define NEVER     (G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC)

typedef struct {
    ApmigLibvirtPool *pool;
    GMutex lock;
    GCond changed;
    guint n_hanging, most_hanging, n_returned, n_without;
    guint n_released; /* so many may return */
} World;

static void
hang(ApmigLibvirtConnection *connection, const GError *error, gpointer data)
{
    World *world = data;

    g_assert_true((connection != NULL) == (error == NULL));
    g_mutex_lock(&world->lock);
    world->n_without += connection == NULL;
    world->n_hanging += connection != NULL;
    world->most_hanging = MAX(world->most_hanging, world->n_hanging);
    g_cond_broadcast(&world->changed);
    while (connection != NULL && world->n_returned == world->n_released)
        g_cond_wait(&world->changed, &world->lock);
    world->n_hanging -= connection != NULL;
    world->n_returned += connection != NULL;
    g_cond_broadcast(&world->changed);
    g_mutex_unlock(&world->lock);
}

static World *
world_new(const ApmigLibvirtLanes *lanes)
{
    World *world = g_new0(World, 1);

    g_mutex_init(&world->lock);
    g_cond_init(&world->changed);
    world->pool = apmig_libvirt_pool_new(URI, lanes);
    return world;
}

/* Until *@count is @wanted; runs the main loop. */
static void
await(World *world, const guint *count, guint wanted)
{
    gint64 end = g_get_monotonic_time() + WAIT_USEC;

    g_mutex_lock(&world->lock);
    while (*count != wanted) {
        if (g_get_monotonic_time() > end)
            g_error("%u calls instead of %u", *count, wanted);
        g_mutex_unlock(&world->lock);
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
        g_mutex_lock(&world->lock);
    }
    g_mutex_unlock(&world->lock);
}

static void
release(World *world, guint n_calls)
{
    g_mutex_lock(&world->lock);
    world->n_released += n_calls;
    g_cond_broadcast(&world->changed);
    g_mutex_unlock(&world->lock);
}

static void
run(World *world, guint n_calls)
{
    for (guint i = 0; i < n_calls; i++)
        apmig_libvirt_pool_run(world->pool, hang, world);
}

/* Nothing hangs in it any more. */
static void
world_free(World *world)
{
    apmig_libvirt_pool_close(world->pool);
    apmig_libvirt_pool_free(world->pool, g_get_monotonic_time() + WAIT_USEC);
    g_assert_cmpuint(fake_libvirt_n_open(), ==, 0);
    g_mutex_clear(&world->lock);
    g_cond_clear(&world->changed);
    g_free(world);
}

/* Calls that return have no more lanes than these. */
static void
test_few_lanes(void)
{
    World *world = world_new(&(ApmigLibvirtLanes){"test", APMIG_LIBVIRT_READ_ONLY, 2, 8, NEVER, NEVER});

    run(world, 1);
    await(world, &world->n_hanging, 1);
    g_assert_cmpuint(fake_libvirt_n_open(), ==, 1);
    run(world, 19);
    for (guint n = 1; n <= 19; n++) {
        await(world, &world->n_hanging, MIN(2, 21 - n));
        release(world, 1);
        await(world, &world->n_returned, n);
    }
    release(world, 1);
    await(world, &world->n_returned, 20);
    g_assert_cmpuint(world->most_hanging, ==, 2);
    g_assert_cmpuint(fake_libvirt_n_open(), ==, 2);
    world_free(world);
}

/* Once all are stuck there is one more, up to a limit; the calls that are left wait then. */
static void
test_stuck_lanes(void)
{
    World *world = world_new(
        &(ApmigLibvirtLanes){"test", APMIG_LIBVIRT_READ_ONLY, 2, 8, 10 * G_TIME_SPAN_MILLISECOND, NEVER});

    run(world, 20);
    await(world, &world->n_hanging, 8);
    release(world, 20);
    await(world, &world->n_returned, 20);
    g_assert_cmpuint(world->most_hanging, ==, 8);
    g_assert_cmpuint(world->n_without, ==, 0);
    world_free(world);
}

static void
await_closed(guint n_open)
{
    gint64 end = g_get_monotonic_time() + WAIT_USEC;

    while (fake_libvirt_n_open() > n_open) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

/* Of what is not needed any more nothing stays; what is needed comes back. */
static void
test_idle_lanes_are_closed(void)
{
    World *world = world_new(
        &(ApmigLibvirtLanes){"test", APMIG_LIBVIRT_READ_ONLY, 1, 4, 0, 20 * G_TIME_SPAN_MILLISECOND});

    run(world, 4);
    await(world, &world->n_hanging, 4);
    g_assert_cmpuint(fake_libvirt_n_open(), ==, 4);
    release(world, 3);
    await_closed(1);
    release(world, 1);
    await_closed(0);
    run(world, 1);
    release(world, 1);
    await(world, &world->n_returned, 5);
    world_free(world);
}

/* Calls that hang, and those that wait for them, keep nobody from closing it; they end by themselves. */
static void
test_closed_while_calls_hang(void)
{
    World *world = world_new(&(ApmigLibvirtLanes){"test", APMIG_LIBVIRT_READ_ONLY, 4, 4, 0, NEVER});
    gint64 before;

    run(world, 9);
    await(world, &world->n_hanging, 4);
    before = g_get_monotonic_time();
    apmig_libvirt_pool_close(world->pool);
    apmig_libvirt_pool_free(world->pool, before + 100 * G_TIME_SPAN_MILLISECOND);
    g_assert_cmpint(g_get_monotonic_time() - before, <, G_USEC_PER_SEC);
    g_assert_cmpuint(world->n_without, ==, 5);

    release(world, 4);
    await(world, &world->n_returned, 4);
    await_closed(0);
    g_free(world);
}

/* Each lane is told, also the one that has a call just now. */
static void
look_up(ApmigLibvirtConnection *connection, const GError *error, gpointer data)
{
    World *world = data;
    virDomainPtr guest;

    g_assert_no_error(error);
    guest = apmig_libvirt_connection_find(connection, "6695eb01-f6a4-8304-79aa-97f2502e193f");
    g_assert_nonnull(guest);
    virDomainFree(guest);
    hang(connection, error, world);
}

static void
look_up_twice(World *world, guint n_returned)
{
    apmig_libvirt_pool_run(world->pool, look_up, world);
    apmig_libvirt_pool_run(world->pool, look_up, world);
    await(world, &world->n_hanging, 2);
    release(world, 2);
    await(world, &world->n_returned, n_returned + 2);
}

static void
test_guests_are_forgotten(void)
{
    World *world = world_new(&(ApmigLibvirtLanes){"test", APMIG_LIBVIRT_READ_ONLY, 2, 2, 0, NEVER});

    fake_libvirt_reset();
    look_up_twice(world, 0);
    look_up_twice(world, 2);
    g_assert_cmpuint(fake_libvirt_count("DomainLookupByUUIDString"), ==, 2);
    apmig_libvirt_pool_forget(world->pool, "6695eb01-f6a4-8304-79aa-97f2502e193f");
    look_up_twice(world, 4);
    g_assert_cmpuint(fake_libvirt_count("DomainLookupByUUIDString"), ==, 4);
    for (guint i = 0; i < 1000; i++)
        apmig_libvirt_pool_forget(world->pool, "6695eb01-f6a4-8304-79aa-97f2502e1930");
    look_up_twice(world, 6);
    g_assert_cmpuint(fake_libvirt_count("DomainLookupByUUIDString"), ==, 6); /* all are, of so many */
    world_free(world);
}

static void
ignore_error(void *data, virErrorPtr error)
{
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    virSetErrorFunc(NULL, ignore_error);
    g_test_add_func("/libvirt-pool/few-lanes", test_few_lanes);
    g_test_add_func("/libvirt-pool/stuck-lanes", test_stuck_lanes);
    g_test_add_func("/libvirt-pool/idle-lanes-are-closed", test_idle_lanes_are_closed);
    g_test_add_func("/libvirt-pool/closed-while-calls-hang", test_closed_while_calls_hang);
    g_test_add_func("/libvirt-pool/guests-are-forgotten", test_guests_are_forgotten);
    return g_test_run();
}
