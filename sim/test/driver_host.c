/* Runs the C driver on registers that another process has: "r OFFSET" asks for a value, "w OFFSET VALUE" writes, "i"
 * waits for the interrupt; any other line is a result.  Arguments: what, then the numbers of struct rowcast_program. */

#include "rowcast_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t number(void)
{
    unsigned long value = 0;
    if (scanf("%lu", &value) != 1)
        exit(3);
    return (uint32_t)value;
}

static uint32_t read_register(void *context, uint32_t offset)
{
    ++*(unsigned *)context;
    printf("r %lu\n", (unsigned long)offset);
    fflush(stdout);
    return number();
}

static void write_register(void *context, uint32_t offset, uint32_t value)
{
    ++*(unsigned *)context;
    printf("w %lu %lu\n", (unsigned long)offset, (unsigned long)value);
    fflush(stdout);
    number();
}

static uint64_t argument(char **arguments, int i)
{
    return strtoull(arguments[i], NULL, 0);
}

int main(int count, char **arguments)
{
    unsigned accesses = 0;
    struct rowcast device = {NULL, read_register, write_register, NULL};
    struct rowcast_program program;
    struct rowcast_fault fault;
    int i;

    if (count != 9)
        return 2;
    device.context = &accesses;
    program.program = argument(arguments, 2);
    program.instructions = (uint32_t)argument(arguments, 3);
    program.data = argument(arguments, 4);
    program.read_base = argument(arguments, 5);
    program.read_limit = argument(arguments, 6);
    program.write_base = argument(arguments, 7);
    program.write_limit = argument(arguments, 8);
    printf("init %d\n", (int)rowcast_init(&device));
    printf("set %d\n", (int)rowcast_set_program(&device, &program));
    if (strcmp(arguments[1], "interrupt") == 0) {
        printf("start %d\n", (int)rowcast_start(&device, 1));
        printf("i\n");
        fflush(stdout);
        number();
        printf("wait %d\n", (int)rowcast_poll(&device));
    } else {
        printf("start %d\n", (int)rowcast_start(&device, 0));
        printf("again %d\n", (int)rowcast_start(&device, 0));
        printf("set %d\n", (int)rowcast_set_program(&device, &program));
        printf("short %d\n", (int)rowcast_wait(&device, 2));
        printf("wait %d\n", (int)rowcast_wait(&device, 1000000));
    }
    rowcast_read_error(&device, &fault);
    printf("error %s %lu %s\n", fault.name, (unsigned long)fault.index, fault.text);
    printf("layer %lu\n", (unsigned long)rowcast_layer(&device));
    for (i = 0; i < (int)ROWCAST_COUNTERS; ++i)
        printf("counter %s %llu\n", rowcast_counter_name((enum rowcast_counter)i),
               (unsigned long long)rowcast_read_counter(&device, (enum rowcast_counter)i));
    printf("start %d\n", (int)rowcast_start(&device, 0));
    printf("reset %d\n", (int)rowcast_reset(&device, 1000));
    printf("poll %d\n", (int)rowcast_poll(&device));
    printf("accesses %u\n", accesses);
    return 0;
}
