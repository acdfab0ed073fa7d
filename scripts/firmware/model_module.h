// What module.c says of the one module of a program: its bytes, and how its code is loaded. It includes no header of
// IREE's, so that it is compiled without IREE's sources.
#ifndef MODEL_MODULE_H
#define MODEL_MODULE_H

#include <stdint.h>

struct iree_vm_instance_t;
struct iree_hal_executable_loader_t;

extern const uint8_t model_module[], model_module_end[];

#if defined(IREE_BASE_API_H_)
typedef iree_status_t model_loader_t(struct iree_vm_instance_t *, iree_allocator_t,
                                     struct iree_hal_executable_loader_t **);
#else
typedef void model_loader_t(void);
#endif

// The three of the library; a program has the code of the one that it names.
extern model_loader_t model_loader_static, model_loader_embedded, model_loader_vmvx;
extern model_loader_t *const model_loader;

// For model_loader_static: the one function that the object of a module exports.
extern void *const model_library_query;

#endif  // MODEL_MODULE_H
