// A desk (desk.capnp) on Cap'n Proto's C++ library: `peer serve SOCKET` offers one, `peer call SOCKET` tries another's and
// exits with 0 when all of it did what it should. Sockets are Unix sockets.

#include <capnp/ez-rpc.h>
#include <capnp/message.h>
#include <kj/debug.h>
#include <cstring>
#include <iostream>

#include "desk.capnp.h"

class BoxServer final : public Box::Server {
public:
    explicit BoxServer(uint64_t number) : number(number) {}

    kj::Promise<void> value(ValueContext context) override {
        context.getResults().setValue(number);
        return kj::READY_NOW;
    }

private:
    uint64_t number;
};

static kj::Promise<uint64_t> total(Box::Client box, uint32_t times) {
    if (times == 0) return uint64_t(0);
    return box.valueRequest().send().then([box, times](auto response) mutable {
        uint64_t value = response.getValue();
        return total(box, times - 1).then([value](uint64_t rest) { return value + rest; });
    });
}

class DeskServer final : public Desk::Server {
public:
    kj::Promise<void> echo(EchoContext context) override {
        context.getResults().setData(context.getParams().getData());
        return kj::READY_NOW;
    }

    kj::Promise<void> open(OpenContext context) override {
        context.getResults().setBox(kj::heap<BoxServer>(context.getParams().getValue()));
        return kj::READY_NOW;
    }

    kj::Promise<void> hand(HandContext context) override {
        context.getResults().setBox(context.getParams().getBox());
        return kj::READY_NOW;
    }

    kj::Promise<void> fail(FailContext context) override {
        auto kind = static_cast<kj::Exception::Type>(context.getParams().getKind());
        return kj::Exception(kind, __FILE__, __LINE__, kj::heapString("as you wish"));
    }

    kj::Promise<void> sum(SumContext context) override {
        auto params = context.getParams();
        return total(params.getBox(), params.getTimes()).then([context](uint64_t value) mutable {
            context.getResults().setSum(value);
        });
    }

    kj::Promise<void> slow(SlowContext context) override {
        context.allowCancellation();
        return kj::NEVER_DONE;
    }
};

static void call(kj::StringPtr address) {
    capnp::EzRpcClient client(address);
    auto &wait = client.getWaitScope();
    auto desk = client.getMain<Desk>();

    auto data = kj::heapArray<kj::byte>(3000000);
    for (size_t at = 0; at < data.size(); at++) data[at] = at * 7 % 251;
    auto request = desk.echoRequest();
    request.setData(data);
    auto answer = request.send().wait(wait);
    KJ_REQUIRE(answer.getData() == data.asPtr(), "echo");

    auto opening = desk.openRequest();
    opening.setValue(41);
    auto opened = opening.send();
    KJ_REQUIRE(opened.getBox().valueRequest().send().wait(wait).getValue() == 41, "pipeline");
    auto box = opened.wait(wait).getBox();
    KJ_REQUIRE(box.valueRequest().send().wait(wait).getValue() == 41, "capability");

    auto summing = desk.sumRequest();
    summing.setBox(kj::heap<BoxServer>(7));
    summing.setTimes(100);
    KJ_REQUIRE(summing.send().wait(wait).getSum() == 700, "call back");

    auto handing = desk.handRequest();
    handing.setBox(kj::heap<BoxServer>(9));
    auto handed = handing.send();
    auto early = handed.getBox().valueRequest().send();
    auto back = handed.wait(wait).getBox();
    auto late = back.valueRequest().send();
    KJ_REQUIRE(early.wait(wait).getValue() == 9, "embargo");
    KJ_REQUIRE(late.wait(wait).getValue() == 9, "embargo");

    // A promise that is resolved after it was passed on, and called before.
    auto paf = kj::newPromiseAndFulfiller<Box::Client>();
    auto waiting = desk.sumRequest();
    waiting.setBox(Box::Client(kj::mv(paf.promise)));
    waiting.setTimes(2);
    auto promised = waiting.send();
    auto ours = desk.handRequest();
    ours.setBox(box);
    auto theirs = ours.send().wait(wait).getBox();
    paf.fulfiller->fulfill(kj::mv(theirs));
    KJ_REQUIRE(promised.wait(wait).getSum() == 82, "promise");

    for (uint16_t kind = 0; kind < 4; kind++) {
        auto failing = desk.failRequest();
        failing.setKind(kind);
        auto caught = kj::runCatchingExceptions([&]() { failing.send().wait(wait); });
        KJ_IF_MAYBE(exception, caught) {
            KJ_REQUIRE(static_cast<uint16_t>(exception->getType()) == kind, "type of an exception");
            KJ_REQUIRE(strstr(exception->getDescription().cStr(), "as you wish") != nullptr, "its text");
        } else {
            KJ_FAIL_REQUIRE("no exception");
        }
    }
    { auto given_up = desk.slowRequest().send(); }
    KJ_REQUIRE(desk.echoRequest().send().wait(wait).getData().size() == 0, "afterwards");
}

int main(int count, char *arguments[]) {
    if (count != 3) return 2;
    auto address = kj::str("unix:", arguments[2]);
    if (kj::StringPtr(arguments[1]) == "call") {
        call(address);
        std::cout << "all well" << std::endl;
        return 0;
    }
    capnp::EzRpcServer server(kj::heap<DeskServer>(), address);
    server.getPort().wait(server.getWaitScope());
    std::cout << "ready" << std::endl;
    kj::NEVER_DONE.wait(server.getWaitScope());
}
