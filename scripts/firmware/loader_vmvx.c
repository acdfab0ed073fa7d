// Bytecode of the module, which the runtime interprets.
#include "iree/base/api.h"
#include "iree/hal/local/loaders/vmvx_module_loader.h"
#include "iree/vm/api.h"
#include "model_module.h"

iree_status_t model_loader_vmvx(iree_vm_instance_t *instance, iree_allocator_t allocator,
                                iree_hal_executable_loader_t **loader) {
  return iree_hal_vmvx_module_loader_create(instance, 0, NULL, allocator, loader);
}
