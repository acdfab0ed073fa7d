// What IREE's runtime lacks on a machine without an operating system.
#include <malloc.h>
#include <stdlib.h>

// newlib's own calls posix_memalign, which it does not have.
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

// IREE 3.13 and newer: what carries asynchronous work. On a machine without threads there is none, so that every call is
// done when it returns: a semaphore needs a notification that counts, and nobody waits on it. IREE itself has no proactor
// for its generic platform ("UNAVAILABLE").
#if __has_include("iree/async/util/proactor_pool.h")
#include <string.h>

#include "iree/async/notification.h"
#include "iree/async/proactor_platform.h"

static void destroy(iree_async_proactor_t *proactor) { iree_allocator_free(proactor->allocator, proactor); }

static iree_async_proactor_capabilities_t capabilities(iree_async_proactor_t *proactor) { return 0; }

static void wake(iree_async_proactor_t *proactor) {}

static iree_status_t create(iree_async_proactor_t *proactor, iree_async_notification_flags_t flags,
                            iree_async_notification_t **out) {
  iree_async_notification_t *notification = NULL;
  IREE_RETURN_IF_ERROR(iree_allocator_malloc(proactor->allocator, sizeof *notification, (void **)&notification));
  memset(notification, 0, sizeof *notification);
  iree_atomic_ref_count_init(&notification->ref_count);
  notification->proactor = proactor;
  notification->epoch_ptr = &notification->epoch;
  notification->mode = IREE_ASYNC_NOTIFICATION_MODE_EVENT;
  *out = notification;
  return iree_ok_status();
}

static void destroy_notification(iree_async_proactor_t *proactor, iree_async_notification_t *notification) {
  iree_allocator_free(proactor->allocator, notification);
}

static void signal_it(iree_async_proactor_t *proactor, iree_async_notification_t *notification, int32_t count) {}

static bool wait(iree_async_proactor_t *proactor, iree_async_notification_t *notification, uint32_t token,
                 iree_timeout_t timeout) {
  return (uint32_t)iree_atomic_load(notification->epoch_ptr, iree_memory_order_acquire) != token;
}

static const iree_async_proactor_vtable_t vtable = {
    .destroy = destroy,
    .query_capabilities = capabilities,
    .wake = wake,
    .create_notification = create,
    .destroy_notification = destroy_notification,
    .notification_signal = signal_it,
    .notification_wait = wait,
};

iree_status_t iree_async_proactor_create_platform(iree_async_proactor_options_t options, iree_allocator_t allocator,
                                                  iree_async_proactor_t **out) {
  iree_async_proactor_t *proactor = NULL;
  IREE_RETURN_IF_ERROR(iree_allocator_malloc(allocator, sizeof *proactor, (void **)&proactor));
  memset(proactor, 0, sizeof *proactor);
  iree_async_proactor_initialize(&vtable, iree_string_view_empty(), allocator, proactor);
  *out = proactor;
  return iree_ok_status();
}
#endif
