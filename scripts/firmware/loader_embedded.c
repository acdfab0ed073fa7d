// Code in an ELF file of the module, which the runtime loads into memory.
#include "iree/base/api.h"
#include "iree/hal/local/loaders/embedded_elf_loader.h"
#include "iree/vm/api.h"
#include "model_module.h"

iree_status_t model_loader_embedded(iree_vm_instance_t *instance, iree_allocator_t allocator,
                                    iree_hal_executable_loader_t **loader) {
  return iree_hal_embedded_elf_loader_create(NULL, allocator, loader);
}
