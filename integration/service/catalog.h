// The collections of one data folder, by name. A name is [A-Za-z0-9_-]{1,64}, never a path; a
// collection's folder has its name.
//
// Thread-safety: everything may be called from any number of threads. A deleted collection goes on
// serving the requests that hold it.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "halo/integration/service/collection.h"

namespace halo::service {

bool is_collection_name(std::string_view name);

class Catalog {
 public:
  /// Creates the folder where it does not exist. Holds a lock on it: throws kIo where another
  /// process serves it.
  explicit Catalog(std::filesystem::path folder);
  ~Catalog();
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;

  /// Opens every collection in the folder.
  void open_all();
  std::vector<std::string> names() const;
  bool has(const std::string& name) const;
  /// Throws kInvalidArgument for what is no name, kNotFound for what is no collection.
  std::shared_ptr<Collection> get(const std::string& name) const;
  /// Throws kInvalidArgument, kDuplicateId for a name that is taken.
  std::shared_ptr<Collection> create(const std::string& name, const CollectionOptions& options);
  std::shared_ptr<Collection> create(const std::string& name, std::shared_ptr<const Engine> engine);
  /// With everything it holds. Throws as get().
  void erase(const std::string& name);
  /// Saves all collections, until `stop` asks.
  void close(const std::stop_token& stop);

 private:
  template <class Make>
  std::shared_ptr<Collection> create_by(const std::string& name, Make&& make);
  void check_name(const std::string& name) const;

  std::filesystem::path folder_;
  int lock_ = -1;
  std::mutex change_mutex_;  // of create and erase, which take long
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Collection>> collections_;
};

}  // namespace halo::service
