// The page at /, in Debian's headless Chromium, driven over WebDriver, where HALO_PAGE_TESTS is set
// and chromium and chromium-driver are installed; skips elsewhere. HALO_PAGE_SCREENSHOTS names a
// folder that receives pictures to look at.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "halo/integration/service/http_server.h"
#include "integration/service/http_client.h"
#include "integration/service/service_fixture.h"

namespace halo::service {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// A browser of its own. https://www.w3.org/TR/webdriver2/
class Browser {
 public:
  /// Null where there is no chromedriver or no Chromium.
  static std::unique_ptr<Browser> open() {
    std::unique_ptr<Browser> browser(new Browser);
    return browser->session_.empty() ? nullptr : std::move(browser);
  }
  ~Browser() {
    if (!session_.empty()) HttpClient(port_).request("DELETE", session_);
    if (port_ != 0) HttpClient(port_).get("/shutdown");
    if (driver_ != nullptr) pclose(driver_);
  }
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  void go(const std::string& url) { post("/url", {{"url", url}}); }
  /// The value of a JavaScript function's body.
  json run(const std::string& script) {
    return post("/execute/sync", {{"script", script}, {"args", json::array()}});
  }
  /// True once a JavaScript expression holds; false after 20 s.
  bool waits_for(const std::string& condition) {
    for (int i = 0; i < 400; ++i) {
      if (run("return Boolean(" + condition + ")") == true) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  /// Presses keys one after the other, wherever the focus is.
  void press(const std::vector<std::string>& keys) {
    json actions = json::array();
    for (const std::string& key : keys) {
      actions.push_back({{"type", "keyDown"}, {"value", key}});
      actions.push_back({{"type", "keyUp"}, {"value", key}});
    }
    post("/actions", {{"actions", {{{"type", "key"}, {"id", "keys"}, {"actions", actions}}}}});
  }
  std::string text(const std::string& selector) {
    return run("return document.querySelector('" + selector + "').textContent");
  }
  std::size_t count(const std::string& selector) {
    return run("return document.querySelectorAll('" + selector + "').length");
  }
  bool visible(const std::string& selector) {
    return run("return document.querySelector('" + selector + "').checkVisibility()");
  }
  /// A PNG of the window, base64.
  std::string picture() { return HttpClient(port_).get(session_ + "/screenshot").json()["value"]; }

 private:
  Browser() {
    driver_ = popen("chromedriver --port=0 2>/dev/null", "r");
    std::array<char, 512> line{};
    while (driver_ != nullptr && std::fgets(line.data(), line.size(), driver_) != nullptr) {
      if (std::sscanf(line.data(), "ChromeDriver was started successfully on port %d", &port_) == 1)
        break;
    }
    if (port_ == 0) return;
    const json options = {{"args",
                           {"--headless", "--no-sandbox", "--disable-gpu",
                            "--disable-dev-shm-usage", "--window-size=1280,1700"}}};
    const HttpAnswer made = HttpClient(port_).post(
        "/session", {{"capabilities", {{"alwaysMatch", {{"goog:chromeOptions", options}}}}}});
    if (made.status != 200) return;
    session_ = "/session/" + made.json()["value"]["sessionId"].get<std::string>();
  }
  json post(const std::string& path, const json& body) {
    const HttpAnswer answer = HttpClient(port_).post(session_ + path, body);
    EXPECT_EQ(answer.status, 200) << path << ": " << answer.body;
    return answer.status == 200 ? answer.json()["value"] : json();
  }

  FILE* driver_ = nullptr;
  int port_ = 0;
  std::string session_;
};

class PageTest : public ServiceTest {
 protected:
  void SetUp() override {
    if (std::getenv("HALO_PAGE_TESTS") == nullptr) {  // NOLINT(concurrency-mt-unsafe)
      GTEST_SKIP() << "HALO_PAGE_TESTS is not set";
    }
    browser_ = Browser::open();
    if (browser_ == nullptr) GTEST_SKIP() << "chromium and chromium-driver are not installed";
    server_ = std::make_unique<HttpServer>(api_, HttpOptions{});
    thread_ = std::thread([this] { server_->listen(); });
  }
  ~PageTest() override {
    browser_.reset();
    if (!thread_.joinable()) return;
    server_->stop(std::chrono::seconds(20));
    thread_.join();
  }
  void open(const std::string& fragment = "") {
    browser_->go("http://127.0.0.1:" + std::to_string(server_->port()) + "/" + fragment);
  }
  bool answered() { return browser_->waits_for("!document.querySelector('main[aria-busy]')"); }
  void refine_all() {
    fill(300);
    ASSERT_EQ(finished(fine("POST", "/collections/c/settle", nullptr, 202))["state"], "done");
    ASSERT_EQ(finished(fine("POST", "/collections/c/refine", json::object(), 202))["state"],
              "done");
  }
  void keep_picture(const std::string& name) {
    const char* folder = std::getenv("HALO_PAGE_SCREENSHOTS");  // NOLINT(concurrency-mt-unsafe)
    if (folder == nullptr) return;
    std::ofstream(std::string(folder) + "/" + name + ".png.base64") << browser_->picture();
  }

  std::unique_ptr<Browser> browser_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST_F(PageTest, WithoutCollectionsSaysHowToMakeOne) {
  open();
  ASSERT_TRUE(browser_->waits_for("!document.getElementById('empty').hidden"));
  EXPECT_THAT(browser_->text("#create-example"), HasSubstr("curl -X PUT http://127.0.0.1:"));
  EXPECT_FALSE(browser_->visible("form"));
  EXPECT_FALSE(browser_->visible("#error"));
  keep_picture("empty");
}

TEST_F(PageTest, ShowsBothOrdersTheirScoresAndTheNeighbourhood) {
  refine_all();
  open("#c/7");
  ASSERT_TRUE(browser_->waits_for("document.querySelectorAll('#graph a').length > 1"));
  ASSERT_TRUE(answered());
  EXPECT_EQ(browser_->count("#before li"), 10U);
  EXPECT_EQ(browser_->count("#after li"), 10U);
  EXPECT_THAT(browser_->text("#before li"), HasSubstr("id 7"));
  EXPECT_THAT(browser_->text("#after .scores"),
              testing::AllOf(HasSubstr("score"), HasSubstr("distance")));
  EXPECT_EQ(browser_->count("#after .move"), 10U);
  EXPECT_THAT(browser_->text("#timings"), HasSubstr("search"));
  EXPECT_EQ(browser_->text("#centre"), "7");
  EXPECT_GE(browser_->count("#head option"), 2U);
  // Widths are attention: they differ.
  EXPECT_GT(browser_->run("return new Set([...document.querySelectorAll('#graph line')].map("
                          "(l) => l.getAttribute('stroke-width'))).size"),
            1);
  keep_picture("results");
  browser_->run("document.getElementById('as-table').click()");
  EXPECT_FALSE(browser_->visible("#graph"));
  EXPECT_EQ(browser_->count("#graph-table tbody tr"), browser_->count("#graph line"));
}

TEST_F(PageTest, IsUsedByKeyboardAlone) {
  refine_all();
  open("#c/7");
  ASSERT_TRUE(browser_->waits_for("document.querySelectorAll('#graph a').length > 1"));
  ASSERT_TRUE(answered());
  browser_->run("document.getElementById('id').focus(); document.getElementById('id').select()");
  browser_->press({"2", "1", "\uE007"});  // Enter
  ASSERT_TRUE(browser_->waits_for("document.getElementById('centre').textContent === '21'"));
  ASSERT_TRUE(answered());
  EXPECT_THAT(browser_->text("#before li"), HasSubstr("id 21"));
  // Every neighbour is reached by Tab and asked for by Enter.
  browser_->run("document.querySelector('#graph a').focus()");
  const std::string first = browser_->run("return document.activeElement.textContent");
  browser_->press({"\uE007"});
  ASSERT_TRUE(
      browser_->waits_for("document.getElementById('centre').textContent === '" + first + "'"));
  browser_->run("document.getElementById('go').focus()");
  for (int i = 0; i < 12; ++i) browser_->press({"\uE004"});  // Tab, into the results
  EXPECT_EQ(browser_->run("return document.activeElement.closest('.hits') !== null"), true);
}

// What was measured is there for who opens it, and is not loaded before.
TEST_F(PageTest, ShowsTheFiguresWhenTheyAreAskedFor) {
  fill(100);
  open("#c/7");
  ASSERT_TRUE(browser_->waits_for("document.querySelectorAll('#before li').length === 10"));
  ASSERT_TRUE(answered());
  const std::string loaded =
      "[...document.querySelectorAll('#figures img')].filter((i) => i.naturalWidth > 0).length";
  EXPECT_EQ(browser_->count("#figures img"), 2U);
  EXPECT_EQ(browser_->run("return " + loaded), 0);
  EXPECT_FALSE(browser_->visible("#figures img"));
  EXPECT_EQ(browser_->run("return [...document.querySelectorAll('#figures img')].every("
                          "(i) => i.alt.length > 100)"),
            true);
  browser_->run("document.querySelector('#figures summary').focus()");
  browser_->press({"\uE007"});  // Enter
  ASSERT_TRUE(browser_->waits_for("document.getElementById('figures').open"));
  for (const char* which : {"0", "1"}) {
    const std::string image =
        "document.querySelectorAll('#figures img')[" + std::string(which) + "]";
    browser_->run(image + ".scrollIntoView()");
    EXPECT_TRUE(browser_->waits_for(image + ".naturalWidth === 720")) << which;
  }
  keep_picture("figures");
}

TEST_F(PageTest, SaysWhatIsWrong) {
  fill(100);
  open("#c/99999");
  ASSERT_TRUE(browser_->waits_for("!document.getElementById('error').hidden"));
  EXPECT_THAT(browser_->text("#error"), HasSubstr("99999"));
  keep_picture("error");
  browser_->run(
      "document.querySelector('input[value=vector]').click();"
      "document.getElementById('vector').value = '1, 2, x';"
      "document.getElementById('go').click()");
  ASSERT_TRUE(
      browser_->waits_for("document.getElementById('error').textContent.includes('not a number')"));
  browser_->run(
      "document.getElementById('vector').value = '1 2 3';"
      "document.getElementById('go').click()");
  ASSERT_TRUE(
      browser_->waits_for("document.getElementById('error').textContent.includes('3 numbers')"));
  browser_->run(
      "document.getElementById('vector').value = '[1,0,2,0,1,0,1,1]';"
      "document.getElementById('go').click()");
  ASSERT_TRUE(browser_->waits_for("document.querySelectorAll('#before li').length === 10"));
  EXPECT_FALSE(browser_->visible("#error"));
}

TEST_F(PageTest, SaysThatTheServiceIsGone) {
  fill(100);
  open("#c/7");
  ASSERT_TRUE(browser_->waits_for("document.querySelectorAll('#before li').length === 10"));
  server_->stop(std::chrono::seconds(20));
  thread_.join();
  browser_->run("document.getElementById('go').click()");
  ASSERT_TRUE(browser_->waits_for("!document.getElementById('error').hidden"));
  EXPECT_THAT(browser_->text("#error"), HasSubstr("does not answer"));
}

}  // namespace
}  // namespace halo::service
