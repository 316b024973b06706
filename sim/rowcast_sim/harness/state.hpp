// A simulation in a file: written under another name first, so that there is never half of one; read only if whole.
//
//   magic, bytes of the contents, checksum of them, contents

#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "verilated_save.h"

// Of a sequence of bytes, in whatever pieces it comes.
class Checksum {
  public:
    void add(const uint8_t* data, size_t size) {
        for (; size && filled_; --size) add(*data++);
        for (; size >= 8; data += 8, size -= 8) {
            uint64_t word;
            std::memcpy(&word, data, 8);
            mix(word);
        }
        for (; size; --size) add(*data++);
    }
    uint64_t value() const { return value_ ^ word_; }

  private:
    void add(uint8_t byte) {
        word_ |= uint64_t(byte) << (8 * filled_);
        if (++filled_ < 8) return;
        mix(word_);
        word_ = filled_ = 0;
    }
    void mix(uint64_t word) {
        value_ = (value_ ^ word) * 0x9E3779B97F4A7C15ull;
        value_ ^= value_ >> 29;
    }
    uint64_t value_ = 0, word_ = 0;
    unsigned filled_ = 0;
};

struct StateHeader {
    static constexpr uint64_t kMagic = 0x31657461'74534352ull;  // "RCState1"
    uint64_t magic = kMagic, size = 0, checksum = 0;
};

class StateWriter final : public VerilatedSerialize {
  public:
    explicit StateWriter(const std::string& path) : path_(path), file_(fopen(part().c_str(), "wb")) {
        good_ = file_ && fwrite(&header_, sizeof header_, 1, file_) == 1;
    }
    ~StateWriter() override {
        if (file_) fclose(file_);
    }
    // What does not go through the buffer: large, and written in one piece.
    void raw(const void* data, size_t size) {
        flush();
        put(static_cast<const uint8_t*>(data), size);
    }
    void flush() override {
        put(m_bufp, m_cp - m_bufp);
        m_cp = m_bufp;
    }
    // Gives the file its name; false if anything went wrong.
    bool finish() {
        flush();
        header_.checksum = checksum_.value();
        good_ = good_ && !fseek(file_, 0, SEEK_SET) && fwrite(&header_, sizeof header_, 1, file_) == 1;
        if (file_) good_ = !fclose(file_) && good_;
        file_ = nullptr;
        good_ = good_ && !rename(part().c_str(), path_.c_str());
        if (!good_) unlink(part().c_str());
        return good_;
    }

  private:
    std::string part() const { return path_ + "." + std::to_string(getpid()) + ".part"; }
    void put(const uint8_t* data, size_t size) {
        if (!size) return;
        good_ = good_ && fwrite(data, 1, size, file_) == size;
        checksum_.add(data, size);
        header_.size += size;
    }

    std::string path_;
    FILE* file_;
    bool good_;
    StateHeader header_;
    Checksum checksum_;
};

class StateReader final : public VerilatedDeserialize {
  public:
    explicit StateReader(const std::string& path) {
        m_endp = m_cp;
        const int file = open(path.c_str(), O_RDONLY);
        struct stat info {};
        if (file >= 0 && !fstat(file, &info) && size_t(info.st_size) >= sizeof(StateHeader)) {
            size_ = info.st_size;
            data_ = static_cast<uint8_t*>(mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0));
            if (data_ == MAP_FAILED) data_ = nullptr;
        }
        if (file >= 0) ::close(file);
        at_ = sizeof(StateHeader);
    }
    ~StateReader() override {
        if (data_) munmap(data_, size_);
    }
    // Whether the file is a complete state, bit for bit.
    bool whole() const {
        if (!data_) return false;
        StateHeader header;
        std::memcpy(&header, data_, sizeof header);
        if (header.magic != StateHeader::kMagic || header.size != size_ - sizeof header) return false;
        Checksum sum;
        sum.add(data_ + sizeof header, header.size);
        return sum.value() == header.checksum;
    }
    void raw(void* data, size_t size) {
        at_ -= m_endp - m_cp;
        m_cp = m_endp = m_bufp;
        if (size > size_ - at_) size = size_ - at_;
        std::memcpy(data, data_ + at_, size);
        at_ += size;
    }
    void fill() override {
        const size_t kept = m_endp - m_cp;
        std::memmove(m_bufp, m_cp, kept);
        const size_t room = bufferSize() - kept, left = size_ - at_, more = room < left ? room : left;
        std::memcpy(m_bufp + kept, data_ + at_, more);
        at_ += more;
        m_cp = m_bufp;
        m_endp = m_bufp + kept + more;
    }

  private:
    uint8_t* data_ = nullptr;
    size_t size_ = 0, at_ = 0;
};

// One walk over the members serves both ways: `state(member)`.
class Saving {
  public:
    explicit Saving(StateWriter& out) : out_(out) {}
    template <class T>
    void operator()(T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        out_.write(&value, sizeof value);
    }
    template <class T>
    void operator()(std::vector<T>& values) {
        uint64_t size = values.size();
        (*this)(size);
        static_assert(std::is_trivially_copyable_v<T>);
        out_.raw(values.data(), size * sizeof(T));
    }
    template <class Design>
    void design(Design& dut) {
        out_ << dut;
    }

  private:
    StateWriter& out_;
};

class Restoring {
  public:
    explicit Restoring(StateReader& in) : in_(in) {}
    template <class T>
    void operator()(T& value) {
        in_.read(&value, sizeof value);
    }
    template <class T>
    void operator()(std::vector<T>& values) {
        uint64_t size = 0;
        (*this)(size);
        values.resize(size);
        in_.raw(values.data(), size * sizeof(T));
    }
    template <class Design>
    void design(Design& dut) {
        in_ >> dut;
    }

  private:
    StateReader& in_;
};
