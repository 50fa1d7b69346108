// What torch asks of a CUDA build before a tensor without content may claim to be on a GPU:
// two devices, a current one for each thread, generators.  Nothing here computes.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {
using c10::Device;
using c10::DeviceIndex;
constexpr auto CUDA = c10::DeviceType::CUDA;
constexpr DeviceIndex COUNT = 2;
thread_local DeviceIndex current = 0;

DeviceIndex exchange(DeviceIndex next) {
  auto before = current;
  current = next < 0 ? before : next;
  return before;
}

struct Generator final : at::CPUGeneratorImpl {
  explicit Generator(DeviceIndex index) { device_ = Device(CUDA, index); }
};
}  // namespace

extern "C" int fakegpu_current() { return current; }
extern "C" void fakegpu_set(int index) { current = static_cast<DeviceIndex>(index); }

namespace at {
struct CUDAHooks : public CUDAHooksInterface {
  CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasCuDNN() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex current_device() const override { return current; }
  DeviceIndex deviceCount() const override { return COUNT; }
  DeviceIndex getCurrentDevice() const override { return current; }
  DeviceIndex exchangeDevice(DeviceIndex i) const override { return exchange(i); }
  DeviceIndex maybeExchangeDevice(DeviceIndex i) const override { return exchange(i); }
  void setCurrentDevice(DeviceIndex i) const override { current = i; }
  at::Generator getNewGenerator(DeviceIndex i) const override {
    return make_generator<::Generator>(i < 0 ? current : i);
  }
  int getNumGPUs() const override { return COUNT; }
  long versionCuDNN() const override { return 91000; }
  long versionRuntimeCuDNN() const override { return 91000; }
  bool supportsBFloat16ConvolutionWithCuDNNv8() const override { return true; }
  bool supportsDepthwiseConvolutionWithCuDNN() const override { return true; }
  bool supportsDilatedConvolutionWithCuDNN() const override { return true; }
  bool isPinnedPtr(const void*) const override { return false; }
};
REGISTER_CUDA_HOOKS(CUDAHooks);
}  // namespace at

namespace {
struct Guard final : public c10::impl::NoOpDeviceGuardImpl<CUDA> {
  static c10::Stream stream(Device d) { return c10::Stream(c10::Stream::DEFAULT, d); }
  Device exchangeDevice(Device d) const override { return Device(CUDA, exchange(d.index())); }
  Device getDevice() const override { return Device(CUDA, current); }
  void setDevice(Device d) const override { exchange(d.index()); }
  void uncheckedSetDevice(Device d) const noexcept override { exchange(d.index()); }
  c10::Stream getStream(Device d) const noexcept override { return stream(d); }
  c10::Stream getNewStream(Device d, int) const override { return stream(d); }
  c10::Stream getDefaultStream(Device d) const override { return stream(d); }
  c10::Stream exchangeStream(c10::Stream s) const noexcept override { return stream(s.device()); }
  DeviceIndex deviceCount() const noexcept override { return COUNT; }
  void record(void** event, const c10::Stream&, const DeviceIndex,
              const c10::EventFlag) const override { *event = nullptr; }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
  void synchronizeStream(const c10::Stream&) const override {}
  bool queryStream(const c10::Stream&) const override { return true; }
};
c10::impl::DeviceGuardImplRegistrar registered(CUDA, new Guard());
}  // namespace
