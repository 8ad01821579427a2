#include "halo/integration/service/catalog.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "halo/core/error.h"
#include "halo/integration/io/file.h"

namespace halo::service {
namespace {

namespace fs = std::filesystem;

// Folders with such a beginning are no collections: half-made ones, and those on their way out.
constexpr std::string_view kMaking = ".making-";
constexpr std::string_view kErasing = ".erasing-";

}  // namespace

bool is_collection_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

Catalog::Catalog(fs::path folder) : folder_(std::move(folder)) {
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed) io::fail(ErrorCode::kIo, folder_, "cannot be created: " + failed.message());
  const fs::path lock = folder_ / "lock";
  lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) io::throw_errno("open", lock, errno);
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    io::fail(ErrorCode::kIo, folder_, "is served by another process");
  }
}

Catalog::~Catalog() { ::close(lock_); }

void Catalog::open_all() {
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kMaking, 0) == 0 || name.rfind(kErasing, 0) == 0) {
      fs::remove_all(entry.path());
      continue;
    }
    if (!entry.is_directory() || !is_collection_name(name)) continue;
    std::shared_ptr<Collection> opened = Collection::open(entry.path());
    const std::lock_guard<std::mutex> lock(mutex_);
    collections_.emplace(name, std::move(opened));
  }
}

std::vector<std::string> Catalog::names() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, collection] : collections_) names.push_back(name);
  return names;
}

bool Catalog::has(const std::string& name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return collections_.count(name) != 0;
}

void Catalog::check_name(const std::string& name) const {
  if (!is_collection_name(name)) {
    throw Error(ErrorCode::kInvalidArgument,
                "a collection's name has 1 to 64 letters, digits, _ and -");
  }
}

std::shared_ptr<Collection> Catalog::get(const std::string& name) const {
  check_name(name);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto at = collections_.find(name);
  if (at == collections_.end()) {
    throw Error(ErrorCode::kNotFound, "there is no collection " + name);
  }
  return at->second;
}

// Made under another name and renamed: after a crash it is there wholly or not at all.
template <class Make>
std::shared_ptr<Collection> Catalog::create_by(const std::string& name, Make&& make) {
  check_name(name);
  const std::lock_guard<std::mutex> changing(change_mutex_);
  if (has(name)) {
    throw Error(ErrorCode::kDuplicateId, "there is a collection " + name + " already");
  }
  const fs::path making = folder_ / (std::string(kMaking) + name);
  fs::remove_all(making);
  make(making);
  io::posix_file_system().rename(making, folder_ / name);
  io::posix_file_system().sync_folder(folder_);
  std::shared_ptr<Collection> made = Collection::open(folder_ / name);
  const std::lock_guard<std::mutex> lock(mutex_);
  collections_.emplace(name, made);
  return made;
}

std::shared_ptr<Collection> Catalog::create(const std::string& name,
                                            const CollectionOptions& options) {
  return create_by(name, [&](const fs::path& folder) { Collection::create(folder, options); });
}

std::shared_ptr<Collection> Catalog::create(const std::string& name,
                                            std::shared_ptr<const Engine> engine) {
  return create_by(name, [&](const fs::path& folder) { Collection::create(folder, engine); });
}

void Catalog::erase(const std::string& name) {
  const std::lock_guard<std::mutex> changing(change_mutex_);
  const auto collection = get(name);
  const fs::path erasing = folder_ / (std::string(kErasing) + name);
  io::posix_file_system().rename(folder_ / name, erasing);
  io::posix_file_system().sync_folder(folder_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    collections_.erase(name);
  }
  fs::remove_all(erasing);
}

void Catalog::close(const std::stop_token& stop) {
  std::map<std::string, std::shared_ptr<Collection>> collections;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    collections.swap(collections_);
  }
  for (const auto& [name, collection] : collections) collection->close(stop);
}

}  // namespace halo::service
