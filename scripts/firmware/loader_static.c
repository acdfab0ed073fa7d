// Code that is linked into the program.
#include "iree/base/api.h"
#include "iree/hal/local/loaders/static_library_loader.h"
#include "iree/vm/api.h"
#include "model_module.h"

iree_status_t model_loader_static(iree_vm_instance_t *instance, iree_allocator_t allocator,
                                  iree_hal_executable_loader_t **loader) {
  const iree_hal_executable_library_query_fn_t query[] = {(iree_hal_executable_library_query_fn_t)model_library_query};
  return iree_hal_static_library_loader_create(1, query, iree_hal_executable_import_provider_null(), allocator, loader);
}
