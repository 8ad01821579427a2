// Checks on the files a command is to write. Thread-safety: free functions.
#pragma once

#include <filesystem>
#include <initializer_list>

namespace halo::cli {

/// Before long work: throws kInvalidArgument where `output` is one of the files the command reads
/// (empty names are none), kIo where it is a folder or its folder does not exist.
void check_output(const std::filesystem::path& output,
                  std::initializer_list<std::filesystem::path> inputs);

}  // namespace halo::cli
