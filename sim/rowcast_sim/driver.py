"""The C driver of `rowcast generate`: C99 and C++, no allocation, made from `rowcast.registers` and `rowcast.isa`."""

from rowcast import isa
from rowcast.registers import COUNTERS, ERROR_TEXTS, Error

__all__ = ["driver_header", "driver_source"]

_MADE = "/* Made by Rowcast from its declarations; change those, not this. */\n"

_HEADER = """\
#ifndef ROWCAST_DRIVER_H
#define ROWCAST_DRIVER_H

#include <stdint.h>

#include "rowcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One accelerator.  Its registers are at `base`, or behind `read` and `write` where those are set: for a bus that is
 * not mapped into memory.  An access must not be reordered with those before it; on a processor that reorders, or where
 * memory is cached, the hook `write` is the place for what makes the program and its data visible before the start. */
struct rowcast {
    volatile void *base;
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    void *context;
};

enum rowcast_result {
    ROWCAST_OK = 0,
    ROWCAST_NOT_FOUND,     /* register ID does not read as "ROWC" */
    ROWCAST_OTHER_VERSION, /* registers or instructions of another major or minor version */
    ROWCAST_OTHER_CONFIG,  /* not the configuration that this driver was made with */
    ROWCAST_BUSY,          /* a run is under way */
    ROWCAST_TIMEOUT,       /* not finished after so many looks */
    ROWCAST_FAILED         /* the run stopped with an error: rowcast_read_error() */
};

/* Where a program and its data are.  All are byte addresses as the accelerator's memory bus sees them. */
struct rowcast_program {
    uint64_t program;      /* first instruction */
    uint32_t instructions; /* how many */
    uint64_t data;         /* from here LOAD and STORE count */
    uint64_t read_base, read_limit;   /* may be read, instructions included: [base, limit) */
    uint64_t write_base, write_limit; /* may be written: [base, limit) */
};

/* Why a run stopped. */
struct rowcast_fault {
    uint32_t code;    /* enum rowcast_error */
    uint32_t index;   /* of the instruction in the program */
    const char *name; /* of the code: "READ_WINDOW" */
    const char *text; /* what it means */
};

enum rowcast_counter {
@COUNTERS@
    ROWCAST_COUNTERS
};

/* Is the accelerator there, and the one that this driver was made for?  Then it is reset, its interrupts are off. */
enum rowcast_result rowcast_init(const struct rowcast *device);

/* Where the next runs find program and data.  Only while no run is under way. */
enum rowcast_result rowcast_set_program(const struct rowcast *device, const struct rowcast_program *program);

/* Begin a run; with `interrupt` its end raises the interrupt. */
enum rowcast_result rowcast_start(const struct rowcast *device, int interrupt);

/* How the run stands: OK (done), BUSY or FAILED.  Acknowledges the interrupt at the end of a run. */
enum rowcast_result rowcast_poll(const struct rowcast *device);

/* Poll until the end of the run, at most `looks` times: OK, FAILED or TIMEOUT. */
enum rowcast_result rowcast_wait(const struct rowcast *device, uint32_t looks);

/* Back to the state after rowcast_init(), within the rules of the bus; needed after an error, possible at any time. */
enum rowcast_result rowcast_reset(const struct rowcast *device, uint32_t looks);

/* What stopped the run; code ROWCAST_ERROR_NONE if nothing did. */
void rowcast_read_error(const struct rowcast *device, struct rowcast_fault *fault);

/* The layer whose results were last marked as complete. */
uint32_t rowcast_layer(const struct rowcast *device);

/* A counter of the last run, and its name. */
uint64_t rowcast_read_counter(const struct rowcast *device, enum rowcast_counter counter);
const char *rowcast_counter_name(enum rowcast_counter counter);

/* Name and text of an error code; "?" for a code that does not exist. */
const char *rowcast_error_name(uint32_t code);
const char *rowcast_error_text(uint32_t code);

/* Name of an instruction (ROWCAST_INSTRUCTION_BYTES bytes of a program); "?" if there is no such opcode. */
const char *rowcast_instruction_name(const void *instruction);

#ifdef __cplusplus
}
#endif

#endif
"""

_SOURCE = """\
#include "rowcast_driver.h"

#include <stddef.h>

static uint32_t get(const struct rowcast *device, uint32_t offset)
{
    if (device->read != NULL)
        return device->read(device->context, offset);
    return ((const volatile uint32_t *)device->base)[offset / 4u];
}

static void put(const struct rowcast *device, uint32_t offset, uint32_t value)
{
    if (device->write != NULL)
        device->write(device->context, offset, value);
    else
        ((volatile uint32_t *)device->base)[offset / 4u] = value;
}

/* A register with its upper half behind it. */
static void put_wide(const struct rowcast *device, uint32_t offset, uint64_t value)
{
    put(device, offset, (uint32_t)value);
    put(device, offset + 4u, (uint32_t)(value >> 32));
}

enum rowcast_result rowcast_init(const struct rowcast *device)
{
    if (get(device, ROWCAST_REG_ID) != ROWCAST_ID_VALUE)
        return ROWCAST_NOT_FOUND;
    if ((get(device, ROWCAST_REG_VERSION) ^ ROWCAST_VERSION_VALUE) >> 16)
        return ROWCAST_OTHER_VERSION;
    if (get(device, ROWCAST_REG_CONFIG) != ROWCAST_CONFIG_DIGEST)
        return ROWCAST_OTHER_CONFIG;
    return rowcast_reset(device, 1000000u);
}

enum rowcast_result rowcast_set_program(const struct rowcast *device, const struct rowcast_program *program)
{
    if (get(device, ROWCAST_REG_STATUS) & ROWCAST_STATUS_BUSY)
        return ROWCAST_BUSY;
    put(device, ROWCAST_REG_PROGRAM_LENGTH, program->instructions);
    put_wide(device, ROWCAST_REG_PROGRAM_BASE, program->program);
    put_wide(device, ROWCAST_REG_DATA_BASE, program->data);
    put_wide(device, ROWCAST_REG_READ_BASE, program->read_base);
    put_wide(device, ROWCAST_REG_READ_LIMIT, program->read_limit);
    put_wide(device, ROWCAST_REG_WRITE_BASE, program->write_base);
    put_wide(device, ROWCAST_REG_WRITE_LIMIT, program->write_limit);
    return ROWCAST_OK;
}

enum rowcast_result rowcast_start(const struct rowcast *device, int interrupt)
{
    const uint32_t status = get(device, ROWCAST_REG_STATUS);
    const uint32_t both = ROWCAST_IRQ_STATUS_DONE | ROWCAST_IRQ_STATUS_ERROR;

    if (status & ROWCAST_STATUS_BUSY)
        return ROWCAST_BUSY;
    if (status & ROWCAST_STATUS_ERROR) /* of the run before: rowcast_reset() comes first */
        return ROWCAST_FAILED;
    put(device, ROWCAST_REG_IRQ_STATUS, both);
    put(device, ROWCAST_REG_IRQ_ENABLE, interrupt ? both : 0u);
    put(device, ROWCAST_REG_CONTROL, ROWCAST_CONTROL_START);
    return ROWCAST_OK;
}

enum rowcast_result rowcast_poll(const struct rowcast *device)
{
    const uint32_t ended = get(device, ROWCAST_REG_IRQ_STATUS);

    if (ended) /* set at the end of a run, whether or not the interrupt is enabled */
        put(device, ROWCAST_REG_IRQ_STATUS, ended);
    else if (get(device, ROWCAST_REG_STATUS) & ROWCAST_STATUS_BUSY)
        return ROWCAST_BUSY;
    return get(device, ROWCAST_REG_STATUS) & ROWCAST_STATUS_ERROR ? ROWCAST_FAILED : ROWCAST_OK;
}

enum rowcast_result rowcast_wait(const struct rowcast *device, uint32_t looks)
{
    while (looks--) {
        const enum rowcast_result result = rowcast_poll(device);

        if (result != ROWCAST_BUSY)
            return result;
    }
    return ROWCAST_TIMEOUT;
}

enum rowcast_result rowcast_reset(const struct rowcast *device, uint32_t looks)
{
    put(device, ROWCAST_REG_IRQ_ENABLE, 0u);
    put(device, ROWCAST_REG_CONTROL, ROWCAST_CONTROL_SOFT_RESET);
    while (looks--) {
        if (!(get(device, ROWCAST_REG_STATUS) & ROWCAST_STATUS_BUSY)) {
            put(device, ROWCAST_REG_IRQ_STATUS, ROWCAST_IRQ_STATUS_DONE | ROWCAST_IRQ_STATUS_ERROR);
            return ROWCAST_OK;
        }
    }
    return ROWCAST_TIMEOUT;
}

static const struct {
    const char *name, *text;
} errors[] = {
@ERRORS@
};

static const char *const counters[] = {
@NAMES@
};

static const char *const instructions[] = {
@INSTRUCTIONS@
};

void rowcast_read_error(const struct rowcast *device, struct rowcast_fault *fault)
{
    fault->code = get(device, ROWCAST_REG_ERROR_CODE);
    fault->index = get(device, ROWCAST_REG_ERROR_INDEX);
    fault->name = rowcast_error_name(fault->code);
    fault->text = rowcast_error_text(fault->code);
}

uint32_t rowcast_layer(const struct rowcast *device)
{
    return get(device, ROWCAST_REG_STATUS) >> ROWCAST_STATUS_LAYER_SHIFT;
}

uint64_t rowcast_read_counter(const struct rowcast *device, enum rowcast_counter counter)
{
    const uint32_t offset = ROWCAST_REG_COUNT_@FIRST@ + 8u * (uint32_t)counter;
    const uint32_t low = get(device, offset); /* first: it makes the accelerator look up both halves */

    return (uint64_t)get(device, offset + 4u) << 32 | low;
}

const char *rowcast_counter_name(enum rowcast_counter counter)
{
    return (uint32_t)counter < sizeof counters / sizeof counters[0] ? counters[counter] : "?";
}

const char *rowcast_error_name(uint32_t code)
{
    return code < sizeof errors / sizeof errors[0] ? errors[code].name : "?";
}

const char *rowcast_error_text(uint32_t code)
{
    return code < sizeof errors / sizeof errors[0] ? errors[code].text : "?";
}

const char *rowcast_instruction_name(const void *instruction)
{
    const uint32_t opcode = *(const unsigned char *)instruction & ((1u << ROWCAST_OPCODE_WIDTH) - 1u);

    return opcode < sizeof instructions / sizeof instructions[0] && instructions[opcode] ? instructions[opcode] : "?";
}
"""


def driver_header():
    """rowcast_driver.h."""
    return _MADE + _HEADER.replace("@COUNTERS@", "\n".join(f"    ROWCAST_COUNTER_{name.upper()}," for name in COUNTERS))


def driver_source():
    """rowcast_driver.c."""
    return _MADE + (
        _SOURCE.replace("@ERRORS@", ",\n".join(f'    {{"{error.name}", "{ERROR_TEXTS[error]}"}}' for error in Error))
        .replace("@NAMES@", ",\n".join(f'    "{name}"' for name in COUNTERS))
        .replace("@INSTRUCTIONS@", ",\n".join(_by_opcode()))
        .replace("@FIRST@", COUNTERS[0].upper())
    )


def _by_opcode():
    names = {form.opcode: f'"{form.name}"' for form in isa.FORMATS.values()}
    return [f"    {names.get(opcode, 'NULL')}" for opcode in range(max(names) + 1)]
