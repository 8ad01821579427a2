#include "halo/integration/io/atomic_write.h"

#include <cerrno>
#include <utility>

namespace halo::io {

namespace fs = std::filesystem;

namespace {

/// Cleans up while an error is on its way: that one matters more than another one here.
template <class Action>
void quietly(Action&& action) {
  try {
    action();
  } catch (const Error&) {  // what is left is for the next writer's sweep
  }
}

/// Removes a file at the end of the scope, if it can.
class Removal {
 public:
  Removal(const FileSystem& file_system, fs::path path)
      : file_system_(file_system), path_(std::move(path)) {}
  ~Removal() {
    if (!path_.empty()) quietly([&] { file_system_.remove(path_); });
  }
  Removal(const Removal&) = delete;
  Removal& operator=(const Removal&) = delete;
  void dismiss() { path_.clear(); }

 private:
  const FileSystem& file_system_;
  fs::path path_;
};

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

void Output::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const std::size_t count = file_.write(data);
    if (count == 0) throw_errno("write", name_, EIO);
    written_ += count;
    data = data.subspan(count);
  }
}

void atomic_write(const FileSystem& file_system, const fs::path& path,
                  const std::function<void(Output&)>& writer) {
  const WriteTarget target = file_system.write_target(path);
  const TemporaryFile temporary = file_system.create_temporary(target);
  Removal removal(file_system, temporary.path);
  Output output(*temporary.file, target.path);
  writer(output);
  temporary.file->sync();

  // Swapping keeps the old file, under the temporary name, until the move itself is durable.
  if (target.exists && file_system.exchange(temporary.path, target.path)) {
    try {
      file_system.sync_folder(folder_of(target.path));
    } catch (const Error&) {
      quietly([&] { file_system.exchange(temporary.path, target.path); });
      throw;
    }
    return;
  }
  file_system.rename(temporary.path, target.path);
  removal.dismiss();
  try {
    file_system.sync_folder(folder_of(target.path));
  } catch (const Error&) {
    if (!target.exists) quietly([&] { file_system.remove(target.path); });
    throw;
  }
}

}  // namespace halo::io
