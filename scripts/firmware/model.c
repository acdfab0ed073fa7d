// The functions of model.h over IREE's runtime: the VM, the HAL with its device local-sync, and one loader of code.
#include "model.h"

#include <stdio.h>
#include <string.h>

#include "iree/base/api.h"
#include "iree/hal/api.h"
#include "iree/hal/drivers/local_sync/sync_device.h"
#include "iree/modules/hal/module.h"
#include "iree/vm/api.h"
#include "iree/vm/bytecode/module.h"

#include "model_module.h"

// Releases from 3.13 on want a proactor for what is asynchronous; platform.c is the one of a machine without threads.
#if __has_include("iree/async/util/proactor_pool.h")
#include "iree/async/frontier_tracker.h"
#include "iree/async/util/proactor_pool.h"
#define HAS_PROACTOR 1
#endif

#define ARENA_BLOCK 4096  // bytes; the default of 32 KB is half of a small board's memory

static struct {
  iree_vm_instance_t *instance;
  iree_hal_device_t *device;
  iree_vm_context_t *context;
  iree_vm_function_t function;
  iree_vm_list_t *outputs;
} model;

static char said[384];

const char *model_error(void) { return said; }

static int failed(iree_status_t status) {
  iree_host_size_t length = 0;
  if (!iree_status_format(status, sizeof said - 1, said, &length))
    snprintf(said, sizeof said, "%s", iree_status_code_string(iree_status_code(status)));
  iree_status_ignore(status);
  return 1;
}

static iree_status_t create_device(iree_allocator_t allocator) {
  iree_hal_executable_loader_t *loader = NULL;
  iree_hal_allocator_t *heap = NULL;
  iree_string_view_t name = iree_make_cstring_view("local-sync");
  iree_hal_sync_device_params_t params;
  iree_hal_sync_device_params_initialize(&params);
  params.arena_block_size = ARENA_BLOCK;
  iree_status_t status = model_loader(model.instance, allocator, &loader);
  if (iree_status_is_ok(status)) status = iree_hal_allocator_create_heap(name, allocator, allocator, &heap);
#if defined(HAS_PROACTOR)
  iree_async_proactor_pool_options_t options = {0};  // no thread polls; the default ones start one
  iree_hal_device_create_params_t create = iree_hal_device_create_params_default();
  if (iree_status_is_ok(status))
    status = iree_async_proactor_pool_create(1, NULL, options, allocator, &create.proactor_pool);
  if (iree_status_is_ok(status))
    status = iree_hal_sync_device_create(name, &params, &create, 1, &loader, heap, allocator, &model.device);
  if (create.proactor_pool) iree_async_proactor_pool_release(create.proactor_pool);
#else
  if (iree_status_is_ok(status))
    status = iree_hal_sync_device_create(name, &params, 1, &loader, heap, allocator, &model.device);
#endif
  iree_hal_allocator_release(heap);
  iree_hal_executable_loader_release(loader);
  return status;
}

static iree_status_t create_hal_module(iree_allocator_t allocator, iree_vm_module_t **module) {
  iree_hal_device_group_t *group = NULL;
#if defined(HAS_PROACTOR)
  iree_async_frontier_tracker_options_t options = iree_async_frontier_tracker_options_default();
  options.axis_table_capacity = 2;
  iree_async_frontier_tracker_t *tracker = NULL;
  iree_status_t status = iree_async_frontier_tracker_create(options, allocator, &tracker);
  if (iree_status_is_ok(status))
    status = iree_hal_device_group_create_from_device(model.device, tracker, allocator, &group);
  if (tracker) iree_async_frontier_tracker_release(tracker);
#else
  iree_status_t status = iree_hal_device_group_create_from_device(model.device, allocator, &group);
#endif
  if (iree_status_is_ok(status))
    status = iree_hal_module_create(model.instance, iree_hal_module_device_policy_default(), group,
                                    IREE_HAL_MODULE_FLAG_SYNCHRONOUS, iree_hal_module_debug_sink_null(), allocator,
                                    module);
  iree_hal_device_group_release(group);
  return status;
}

static iree_status_t create_context(const char *function, iree_allocator_t allocator) {
  iree_vm_module_t *modules[2] = {NULL, NULL};
  iree_const_byte_span_t bytes = iree_make_const_byte_span(model_module, model_module_end - model_module);
  iree_status_t status = create_hal_module(allocator, &modules[0]);
  if (iree_status_is_ok(status))
    status = iree_vm_bytecode_module_create(model.instance, IREE_VM_BYTECODE_MODULE_FLAG_NONE, bytes,
                                            iree_allocator_null(), allocator, &modules[1]);
  if (iree_status_is_ok(status))
    status = iree_vm_context_create_with_modules(model.instance, IREE_VM_CONTEXT_FLAG_NONE, 2, modules, allocator,
                                                 &model.context);
  if (iree_status_is_ok(status))
    status = iree_vm_module_lookup_function_by_name(modules[1], IREE_VM_FUNCTION_LINKAGE_EXPORT,
                                                    iree_make_cstring_view(function), &model.function);
  iree_vm_module_release(modules[1]);
  iree_vm_module_release(modules[0]);
  return status;
}

int model_open(const char *function) {
  iree_allocator_t allocator = iree_allocator_system();
  iree_status_t status = iree_vm_instance_create(IREE_VM_TYPE_CAPACITY_DEFAULT, allocator, &model.instance);
  if (iree_status_is_ok(status)) status = iree_hal_module_register_all_types(model.instance);
  if (iree_status_is_ok(status)) status = create_device(allocator);
  if (iree_status_is_ok(status)) status = create_context(function, allocator);
  return iree_status_is_ok(status) ? 0 : failed(status);
}

static iree_status_t push_input(iree_vm_list_t *list, const model_array_t *array) {
  iree_hal_dim_t shape[MODEL_RANK];
  iree_host_size_t bytes = iree_hal_element_dense_byte_count((iree_hal_element_type_t)array->type);
  for (int i = 0; i < array->rank; ++i) bytes *= (iree_host_size_t)(shape[i] = (iree_hal_dim_t)array->shape[i]);
  iree_hal_buffer_params_t params = {.type = IREE_HAL_MEMORY_TYPE_DEVICE_LOCAL | IREE_HAL_MEMORY_TYPE_HOST_VISIBLE,
                                     .usage = IREE_HAL_BUFFER_USAGE_DEFAULT | IREE_HAL_BUFFER_USAGE_MAPPING};
  iree_hal_buffer_view_t *view = NULL;
  IREE_RETURN_IF_ERROR(iree_hal_buffer_view_allocate_buffer_copy(
      model.device, iree_hal_device_allocator(model.device), (iree_host_size_t)array->rank, shape,
      (iree_hal_element_type_t)array->type, IREE_HAL_ENCODING_TYPE_DENSE_ROW_MAJOR, params,
      iree_make_const_byte_span(array->data, bytes), &view));
  iree_vm_ref_t reference = iree_hal_buffer_view_move_ref(view);
  return iree_vm_list_push_ref_move(list, &reference);
}

static iree_status_t find_output(int index, model_array_t *array) {
  iree_hal_buffer_view_t *view = iree_vm_list_get_buffer_view_assign(model.outputs, (iree_host_size_t)index);
  if (!view) return iree_make_status(IREE_STATUS_INVALID_ARGUMENT, "output %d is no array", index);
  iree_host_size_t rank = iree_hal_buffer_view_shape_rank(view);
  if (rank > MODEL_RANK) return iree_make_status(IREE_STATUS_OUT_OF_RANGE, "output %d has %d dimensions", index, (int)rank);
  array->type = (model_type_t)iree_hal_buffer_view_element_type(view);
  array->rank = (int)rank;
  for (iree_host_size_t i = 0; i < rank; ++i) array->shape[i] = (int32_t)iree_hal_buffer_view_shape_dim(view, i);
  array->bytes = (size_t)iree_hal_buffer_view_byte_length(view);
  iree_hal_buffer_mapping_t mapping;  // of a buffer in the heap: its address stays when the mapping ends
  IREE_RETURN_IF_ERROR(iree_hal_buffer_map_range(iree_hal_buffer_view_buffer(view), IREE_HAL_MAPPING_MODE_SCOPED,
                                                 IREE_HAL_MEMORY_ACCESS_READ, 0, array->bytes, &mapping));
  array->data = mapping.contents.data;
  return iree_hal_buffer_unmap_range(&mapping);
}

int model_call(const model_array_t *inputs, int input_count, model_array_t *outputs, int output_count) {
  iree_allocator_t allocator = iree_allocator_system();
  iree_vm_list_t *given = NULL;
  iree_vm_list_release(model.outputs);
  model.outputs = NULL;
  iree_status_t status =
      iree_vm_list_create(iree_vm_make_undefined_type_def(), (iree_host_size_t)input_count, allocator, &given);
  if (iree_status_is_ok(status))
    status = iree_vm_list_create(iree_vm_make_undefined_type_def(), (iree_host_size_t)output_count, allocator,
                                 &model.outputs);
  for (int i = 0; i < input_count && iree_status_is_ok(status); ++i) status = push_input(given, &inputs[i]);
  if (iree_status_is_ok(status))
    status = iree_vm_invoke(model.context, model.function, IREE_VM_INVOCATION_FLAG_NONE, NULL, given, model.outputs,
                            allocator);
  iree_vm_list_release(given);
  if (iree_status_is_ok(status) && iree_vm_list_size(model.outputs) != (iree_host_size_t)output_count)
    status = iree_make_status(IREE_STATUS_INVALID_ARGUMENT, "the function has %d outputs, %d are asked for",
                              (int)iree_vm_list_size(model.outputs), output_count);
  for (int i = 0; i < output_count && iree_status_is_ok(status); ++i) status = find_output(i, &outputs[i]);
  return iree_status_is_ok(status) ? 0 : failed(status);
}

void model_close(void) {
  iree_vm_list_release(model.outputs);
  iree_vm_context_release(model.context);
  iree_hal_device_release(model.device);
  iree_vm_instance_release(model.instance);
  memset(&model, 0, sizeof model);
}
