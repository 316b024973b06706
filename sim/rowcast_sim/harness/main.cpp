// Runs the compiled design on commands from the standard input: one a line, one line of JSON in answer to each.
//
//   memory LATENCY RATE DUPLEX OUTSTANDING   cycles, bytes a cycle x 256 (0: no limit), half or full, bursts each way
//   stalls PERCENT SEED                      random stalls on every channel
//   image BASE SIZE                          memory of zeros
//   load ADDRESS PATH / dump ADDRESS SIZE PATH
//   fault read|write ADDRESS SIZE / fault none
//   reset CYCLES / step CYCLES
//   write OFFSET VALUE / read OFFSET         registers
//   clear                                    statistics
//   wait LIMIT EVERY                         until the interrupt; a progress line every EVERY cycles (0: none)
//   stats                                    of all layers since `clear`
//   trace [PATH]

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "bench.hpp"

namespace {

FILE* answers;  // the first standard output; what the design prints goes to the standard error

bool fail(const std::string& text) {
    fprintf(answers, "{\"error\": \"%s\"}\n", text.c_str());
    return false;
}

std::string rest(std::istringstream& words) {
    std::string text;
    std::getline(words >> std::ws, text);
    return text;
}

bool transfer(Memory& memory, uint64_t address, uint64_t size, const std::string& path, bool load) {
    FILE* file = fopen(path.c_str(), load ? "rb" : "wb");
    if (!file) return fail("a file cannot be opened");
    if (load) {
        fseek(file, 0, SEEK_END);
        size = ftell(file);
        rewind(file);
    }
    bool good = memory.inside(address, size);
    if (good && size) good = (load ? fread(memory.at(address), 1, size, file) : fwrite(memory.at(address), 1, size, file)) == size;
    fclose(file);
    return good || fail("the bytes are not all in the memory image, or the file cannot be read or written");
}

// Waits in slices, with a line of progress after each.
void wait(Bench& bench, uint64_t limit, uint64_t every) {
    bool done = false;
    const uint64_t slice = every ? every : limit;
    while (limit && !done && !bench.memory.violated) {
        const uint64_t part = limit < slice ? limit : slice;
        done = bench.wait(part);
        limit -= part;
        if (limit && !done && every) {
            fprintf(answers, "{\"progress\": %" PRIu64 ", \"layer\": %u}\n", bench.now, bench.running_layer());
            fflush(answers);
        }
    }
    fprintf(answers, "{\"interrupt\": %d, \"cycle\": %" PRIu64 ", \"under_way\": %u", done, bench.now, bench.memory.under_way());
}

void print_stats(const Bench& bench) {
    fprintf(answers, "{\"layers\": [");
    for (unsigned i = 0; i < bench.used_layers(); ++i) {
        const Bench::Layer& layer = bench.layer(i);
        fprintf(answers, "%s[", i ? ", " : "");
        for (uint64_t cause : layer.causes) fprintf(answers, "%" PRIu64 ", ", cause);
        fprintf(answers, "%" PRIu64 ", %" PRIu64 "]", layer.read_beats, layer.write_beats);
    }
    fprintf(answers, "]");
}

// Prints an answer without its closing brace, or a complete error (false).
bool execute(Bench& bench, const std::string& name, std::istringstream& words) {
    Memory& memory = bench.memory;
    uint64_t a = 0, b = 0;
    std::string text;
    words >> std::setbase(0);
    if (name == "memory") {
        std::string duplex;
        words >> memory.latency >> memory.rate >> duplex >> memory.outstanding;
        memory.half_duplex = duplex == "half";
        if (memory.outstanding < 1 || memory.outstanding > Memory::kSlots) return fail("outstanding bursts: 1 to 64");
    } else if (name == "stalls") {
        words >> a >> b;
        memory.stall_threshold = unsigned(a * 256 / 100);
        memory.random.seed(b);
    } else if (name == "image") {
        words >> a >> b;
        memory.image(a, b);
    } else if (name == "load") {
        words >> a;
        if (!transfer(memory, a, 0, rest(words), true)) return false;
    } else if (name == "dump") {
        words >> a >> b;
        if (!transfer(memory, a, b, rest(words), false)) return false;
    } else if (name == "fault") {
        words >> text >> a >> b;
        if (text == "none") memory.faults.clear();
        else memory.faults.push_back({text == "write", a, a + b - 1});
    } else if (name == "reset") {
        words >> a;
        bench.reset(unsigned(a));
    } else if (name == "step") {
        words >> a;
        bench.step(a);
    } else if (name == "write") {
        words >> a >> b;
        if (!bench.write(unsigned(a), uint32_t(b)) && !memory.violated) return fail("a register write was refused");
    } else if (name == "read") {
        uint32_t value = 0;
        words >> a;
        if (!bench.read(unsigned(a), value) && !memory.violated) return fail("a register read was refused");
        fprintf(answers, "{\"value\": %u, \"cycle\": %" PRIu64, value, bench.now);
        return true;
    } else if (name == "clear") {
        bench.clear();
    } else if (name == "wait") {
        words >> a >> b;
        wait(bench, a, b);
        return true;
    } else if (name == "stats") {
        print_stats(bench);
        return true;
    } else if (name == "trace") {
        if (!bench.trace(rest(words))) return fail("the model was built without trace");
    } else {
        return fail("there is no such command");
    }
    fprintf(answers, "{\"cycle\": %" PRIu64, bench.now);
    return true;
}

}  // namespace

int main() {
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // do not outlive the program that asked
    answers = fdopen(dup(STDOUT_FILENO), "w");
    dup2(STDERR_FILENO, STDOUT_FILENO);
    Bench bench;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string name;
        if (!(words >> name)) continue;
        if (execute(bench, name, words)) {
            if (bench.memory.violated) fprintf(answers, ", \"violation\": \"%s\"", bench.memory.violation.c_str());
            fprintf(answers, "}\n");
        }
        fflush(answers);
    }
    return 0;
}
